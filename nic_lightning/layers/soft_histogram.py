"""Histograms of latents over integer bins: what the coder counts, with a gradient (Ulhaq and Bajic 2024).

A latent is rounded to a symbol first, and the symbol is placed in its bin afterwards. Half-integers therefore fall into
one bin, the one of the symbol that is coded, and the mass of a histogram is one whatever the latents are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nic_lightning.layers.gdn import LowerBound


def histogram(y: Tensor, first: int, bins: int) -> Tensor:
    """Relative frequency of each symbol, with the gradient of `soft_histogram`.

    The forward value is `hard_histogram`, exactly. For a loss L of the histogram p, latent y between the symbols k and
    k + 1 has the gradient (dL/dp[k + 1] - dL/dp[k]) / M. A latent outside the bins is counted in the nearest one, and
    its gradient passes where it moves the latent back.

    Args:
        y: (N, C, M) latents in units of the bin width, centred: round(y) is the symbol.
        first: symbol of the first bin.
        bins: number of bins, at least 2.

    Returns:
        (N, C, bins), float32 or the type of y; each row sums to 1.
    """
    last = first + bins - 1
    y = LowerBound.apply(y, float(first))  # pyright: ignore[reportAssignmentType]
    y = -LowerBound.apply(-y, -float(last))  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    return _StraightThrough.apply(y, first, bins)  # pyright: ignore[reportReturnType]


def hard_histogram(y: Tensor, first: int, bins: int) -> Tensor:
    """Relative frequency of round(y), (N, C, M) -> (N, C, bins); what lies outside counts in the nearest bin."""
    symbols = torch.round(y).clamp(first, first + bins - 1)
    place = (symbols - first).long()
    return _counts(y, bins).scatter_add_(-1, place, torch.ones_like(y)) / y.shape[-1]


def soft_histogram(y: Tensor, first: int, bins: int) -> Tensor:
    """Kernel density estimate at the bins, (N, C, M) -> (N, C, bins): each latent is shared by its two nearest bins.

    The kernel is triangular, max(0, 1 - |u|), as wide as a bin on each side. It is the expectation of `hard_histogram`
    of latents with uniform noise of one bin width, and equals it for integers.
    """
    below, share = _below(y.clamp(first, first + bins - 1), first, bins)
    counts = _counts(y, bins).scatter_add(-1, below, 1 - share)
    return counts.scatter_add(-1, below + 1, share) / y.shape[-1]


class _StraightThrough(torch.autograd.Function):
    """Forward the hard histogram, backward the soft one; y lies within the bins."""

    @staticmethod
    def forward(ctx, y: Tensor, first: int, bins: int) -> Tensor:
        ctx.save_for_backward(y)
        ctx.first, ctx.bins = first, bins
        return hard_histogram(y, first, bins)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (y,) = ctx.saved_tensors
        below, _ = _below(y, ctx.first, ctx.bins)
        slope = (grad[..., 1:] - grad[..., :-1]) / y.shape[-1]
        return slope.gather(-1, below), None, None


def _below(y: Tensor, first: int, bins: int) -> tuple[Tensor, Tensor]:
    """Bin at or below each latent, the last but one at most, and the share of the bin after it."""
    below = (torch.floor(y.detach()) - first).long().clamp(0, bins - 2)
    return below, y - first - below


def _counts(y: Tensor, bins: int) -> Tensor:
    return y.new_zeros(*y.shape[:-1], bins)
