"""Rates from likelihoods, of single images and as means."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from nic_lightning.metrics.bits import bits
from nic_lightning.metrics.mean import MeanOverImages

__all__ = ["Bpp", "bits", "bpp"]


def bpp(likelihoods: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Bits per pixel of each image, shape (N,), for images of `size` (H, W)."""
    return bits(likelihoods) / (size[0] * size[1])


class Bpp(MeanOverImages):
    """Mean over images of the estimated bits per pixel."""

    higher_is_better = False

    def update(self, likelihoods: Mapping[str, Tensor], size: tuple[int, int]) -> None:
        """Add a batch: likelihoods by latent, and the images' size (H, W)."""
        self.add(bpp(likelihoods, size))
