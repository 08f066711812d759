"""One model for all rates, with context pixel by pixel: mbt2018-vbr."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.wrapped.serial import RasterContext, Serial
from nic_lightning.codecs.wrapped.variable import Variable


class VariableSerial(Variable, Serial):
    """Gains as in `variable`, wavefronts as in `serial`; a linear function of the gain is added to the context.

    Kamisli, Racapé and Choi 2024.
    """

    def context_of(self, model: Any) -> nn.Module:
        """The context, with the layer that sees the gain."""
        context = RasterContext(model.context_prediction, model.entropy_parameters)
        context.of_gain = model.scale_to_context
        return context

    def shift(self, point: OperatingPoint) -> Tensor:
        """What the gain adds to the masked convolution."""
        layer: Any = self.context.of_gain  # pyright: ignore[reportOptionalMemberAccess]
        weight, bias = (part.detach().double().cpu() for part in (layer.weight, layer.bias))
        return F.linear(self.gain_at(point).view(1), weight, bias)

    def training_gaussians(self, features: Tensor, noisy: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means, of noisy latents and the gain."""
        context: Any = self.context
        return context(features, noisy, context.of_gain(gain.to(features).view(1)))
