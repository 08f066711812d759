"""Weights of half the bytes: what a codec's networks lose by float16, and how a file holds it.

Only network weights are rounded. Entropy models stay as they are: their densities, quantiles and bounds (a likelihood
of 1e-9 is 0 in float16) are a few per cent of the bytes, and sender and receiver derive their tables from them. So do
buffers: running statistics, tables of scales, integer tables, fingerprints. A codec always computes in float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nic_lightning.codecs.learned import LearnedCodec, in_entropy_model
from nic_lightning.errors import UserError

PRECISION = 2.0**-11
"""Relative error of rounding to float16, at most, of numbers from 6e-5 to 65504."""


@torch.no_grad()
def round_to_float16(codec: LearnedCodec) -> list[str]:
    """Round a codec's network weights to numbers that float16 holds, in place, and make its integer tables anew.

    A tensor that loses more than float16's own precision, because it has larger numbers than 65504 or consists of
    numbers below 6e-5, stays as it is; the names of these are returned. Raises UserError for a part of a codec, such as
    a receiver's half, which has the fingerprint of the whole: the whole is rounded first.
    """
    kept, changed, before = [], False, codec.fingerprint()
    for name, weight in codec.named_parameters():
        if in_entropy_model(name) or weight.dtype != torch.float32:
            continue
        rounded = weight.half().float()
        if _is_near(rounded, weight):
            changed |= not torch.equal(rounded, weight)
            weight.copy_(rounded)
        else:
            kept.append(name)
    codec.update_tables()
    if changed and codec.fingerprint() == before:
        raise UserError(
            "This is a part of a codec and has the fingerprint of the whole, whose files it would read wrongly: round "
            "the whole codec, and take the part of that."
        )
    return kept


def _is_near(rounded: Tensor, weight: Tensor) -> bool:
    """Whether rounding was about as precise as float16 is; not of infinity, which it makes of large numbers."""
    error = torch.linalg.vector_norm((rounded - weight).double())
    return bool(error <= PRECISION * torch.linalg.vector_norm(weight.double()))


def compacted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state; those of float32 that float16 holds exactly, as float16: nothing is lost."""
    return {name: _compact(tensor) for name, tensor in state.items()}


def _compact(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def expanded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `compacted`."""
    return {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in state.items()}
