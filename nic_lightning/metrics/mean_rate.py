"""The estimated rate as a metric that adds up over batches and ranks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from nic_lightning.metrics.mean import MeanOverImages
from nic_lightning.metrics.rate import bpp


class Bpp(MeanOverImages):
    """Mean over images of the estimated bits per pixel."""

    higher_is_better = False

    def update(self, likelihoods: Mapping[str, Tensor], size: tuple[int, int]) -> None:
        """Add a batch: likelihoods by latent, and the images' size (H, W)."""
        self.add(bpp(likelihoods, size))
