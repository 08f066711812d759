"""Kernel distance of two sets of images: unlike FID without bias, so that few images can be compared with many.

Bińkowski et al. 2018, "Demystifying MMD GANs": the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

_ROWS = 1024
"""Rows of the kernel matrix that are in memory at once."""


class Kid:
    """Unbiased estimate over all features of both sides, where publications average over random subsets of 1,000.

    It draws nothing and does not depend on the order. It keeps all features, for its sums have no smaller form.
    """

    def __init__(self) -> None:
        self._features: dict[bool, list[Tensor]] = {True: [], False: []}

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (N, d); `real` for originals."""
        self._features[real].append(features.detach().float().cpu())

    def reset_fake(self) -> None:
        """Forget all but the originals."""
        self._features[False] = []

    def compute(self) -> float:
        """The distance over the images of all ranks, which must all call it; NaN below two on a side."""
        real, fake = (_together(self._features[side]) for side in (True, False))
        if min(len(real), len(fake)) < 2:
            return float("nan")
        m, n = len(real), len(fake)
        within = _kernel_sum(real, real, diagonal=False) / (m * (m - 1))
        within += _kernel_sum(fake, fake, diagonal=False) / (n * (n - 1))
        return within - 2 * _kernel_sum(real, fake) / (m * n)


def _kernel_sum(a: Tensor, b: Tensor, diagonal: bool = True) -> float:
    """Sum of the kernel over all pairs, or over all but those of a row with itself."""
    total, b = 0.0, b.double()
    for part in a.split(_ROWS):
        total += float(_kernel(part.double() @ b.T, a.shape[1]).sum())
    if not diagonal:
        total -= float(_kernel(a.double().square().sum(1), a.shape[1]).sum())
    return total


def _kernel(products: Tensor, dim: int) -> Tensor:
    return (products / dim + 1) ** 3


def _together(parts: list[Tensor]) -> Tensor:
    own = torch.cat(parts) if parts else torch.zeros(0, 0)
    if not (distributed.is_available() and distributed.is_initialized()):
        return own
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, own)
    return torch.cat([share for share in shares if len(share)] or [own])
