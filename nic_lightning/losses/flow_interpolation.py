"""Losses of interpolation networks for flow (Zweig and Wolf, CVPR 2017): end-point error and lateral dependency."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-6
"""Squared pixels: the square root has no gradient at 0."""


def end_point_error(flow: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean distance of flows (N, 2, h, w) over the pixels of `known` (N, h, w) bool; 0 without any."""
    return _mean(_length(flow - truth), known)


def lateral_dependency(flow: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean error of the differences between neighbours, to the right and below, where both are known.

    The paper compares the lengths of these differences; here it is the differences themselves, so that a neighbour
    that moves the same distance another way counts as well.
    """
    errors, counted = [], []
    for axis in (2, 3):
        count = flow.shape[axis] - 1
        one, two = (known.narrow(axis - 1, start, count) for start in (0, 1))
        errors.append(_length((flow - truth).diff(dim=axis)).flatten())
        counted.append((one & two).flatten())
    return _mean(torch.cat(errors), torch.cat(counted))


def _length(vectors: Tensor) -> Tensor:
    return (vectors.square().sum(1) + _TINY).sqrt()


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, values, 0).sum() / counted.sum().clamp(min=1)
