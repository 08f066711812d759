"""Normalised root-mean-square error of predicted tensors (Ulhaq and Bajić, ICASSP 2021, Eq. 13 and 14)."""

from __future__ import annotations

import torch
from torch import Tensor


def nrmse(predicted: Tensor, actual: Tensor, mask: Tensor | None = None) -> Tensor:
    """sqrt(mean of (p - a)^2 over the values of the mask) / (max a - min a), for each sample alone: (N,) float64.

    The range is that of the whole actual tensor, masked values included, as the paper's code has it. Scale and shift of
    both tensors leave it as it is.

    Args:
        predicted: (N, C, h, w).
        actual: the same shape.
        mask: (N, 1, h, w) bool, of which a value counts for all channels; None: everything counts.

    Returns:
        NaN where nothing counts; where the actual tensor is constant, 0 for a perfect prediction and infinity for
        any other.
    """
    a, p = actual.flatten(1).double(), predicted.flatten(1).double()
    square = (p - a).square()
    if mask is None:
        mean = square.mean(1)
    else:
        inside = mask.expand_as(actual).flatten(1)
        mean = torch.where(inside, square, 0.0).sum(1) / inside.sum(1)
    spread = a.amax(1) - a.amin(1)
    return torch.where(mean == 0, mean, mean.sqrt() / spread)


def nrmse_of_psnr(psnr: float | Tensor) -> float | Tensor:
    """NRMSE of 8-bit frames by their PSNR in dB, Eq. 14: 255 / 256 * 10^(-PSNR / 20)."""
    return 255 / 256 * 10 ** (-psnr / 20)
