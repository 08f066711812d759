"""Factorised priors: bmshj2018-factorized and bmshj2018-factorized-relu."""

from __future__ import annotations

from typing import Any

from torch import nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.factorised_base import FactorisedCodec
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.entropy.factorised import EntropyBottleneck


class Factorised(CompressaiCodec, FactorisedCodec):
    """One density for each channel of y.

        x ─ g_a ─ y ─ Q ─ y_hat ─ g_s ─ x_hat
                  └─ EB ─ bits

    Ballé et al. 2018.
    """

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """g_a and g_s."""
        nn.Module.__init__(self)
        assert point is not None
        self.g_a, self.g_s = model.g_a, model.g_s
        self.entropy_y = EntropyBottleneck(model.entropy_bottleneck.channels, filters=(3, 3, 3, 3))
        self._points = (point,)
