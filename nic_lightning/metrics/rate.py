"""Rates from likelihoods: the entropy that an ideal coder would spend."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def bits(likelihoods: Mapping[str, Tensor]) -> Tensor:
    """Bits of each image, shape (N,): the sum of -log2 of its symbols' probabilities, (N, ...) a latent."""
    if not likelihoods:
        raise ValueError("bits needs the likelihoods of at least one latent")
    return torch.stack([-torch.log2(p).flatten(1).sum(1) for p in likelihoods.values()]).sum(0)


def bpp(likelihoods: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Bits per pixel of each image, shape (N,), for images of `size` (H, W)."""
    return bits(likelihoods) / (size[0] * size[1])
