"""Hyperpriors without context: bmshj2018-hyperprior and mbt2018-mean."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.hyperprior_base import HyperpriorCodec
from nic_lightning.codecs.wrapped.codec import CompressaiCodec


class Hyperprior(CompressaiCodec, HyperpriorCodec):
    """Scales, and in mbt2018-mean means, from side information.

        x ─ g_a ─ y ─┬─ Q ─ y_hat ─ g_s ─ x_hat
                     │      └─ Gaussian(means, scales) ─ bits
                     └─ h_a ─ z ─ Q ─ z_hat ─ h_s ─ scales, means

    Ballé et al. 2018; Minnen et al. 2018.
    """

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """g_a, g_s, h_a and h_s."""
        assert point is not None
        side = model.entropy_bottleneck.channels
        HyperpriorCodec.__init__(self, model.g_a, model.g_s, model.h_a, model.h_s, side, point)
        self.sees_signs = "mean" in type(model).__name__.lower()

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """Side information z of latents; scales alone do not depend on signs."""
        return self.h_a(y if self.sees_signs else y.abs())
