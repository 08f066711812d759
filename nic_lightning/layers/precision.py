"""Parts of a network that keep a precision of their own."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def without_autocast(device_type: str) -> AbstractContextManager:
    """Context without autocast on a device type; nothing to do on the meta device, which has no autocast."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


def in_float64(module: nn.Module, x: Tensor, *arguments: object) -> Tensor:
    """`module(x, *arguments)` in float64 on the CPU, whatever it is stored in; no gradient reaches its weights.

    What sender and receiver derive from side information must fall into the same table on both: float64's rounding
    differs between machines in the 16th digit, the tables in the first.
    """
    weights = {name: value.detach().double().cpu() for name, value in module.named_parameters()}
    with without_autocast("cpu"):  # on CPUs it makes bfloat16 of float64, too
        return torch.func.functional_call(module, weights, (x.double().cpu(), *arguments))
