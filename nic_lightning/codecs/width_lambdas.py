"""What codecs with one operating point a width share: lambdas that may change while they train."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.layers.slimmable import rising_widths


class WidthLambdas(LearnedCodec):
    """One operating point a width, narrowest first, and a lambda for each.

    Lambdas are one number for all widths (naive training) or one a width (thesis eq. 3.3), and part of the state:
    `LambdaScheduling` changes them through `set_lambdas` while it trains.
    """

    lambdas: Tensor
    """Weights of the distortion, one a width, float64."""

    def __init__(self, widths: Sequence[int], lambdas: float | Sequence[float]):
        super().__init__()
        self.widths = rising_widths(widths)
        self.register_buffer("lambdas", torch.empty(len(self.widths), dtype=torch.float64))
        self.set_lambdas([float(lambdas)] * len(self.widths) if isinstance(lambdas, int | float) else lambdas)

    def set_lambdas(self, lambdas: Sequence[float]) -> None:
        """Train every width for a lambda of its own from here on, narrowest first; UserError unless positive."""
        values = [float(v) for v in lambdas]
        if len(values) != len(self.widths) or not all(0 < v < float("inf") for v in values):
            raise UserError(f"codec.lambdas is {values}; give one positive number, or one for each of {self.widths}.")
        self.lambdas.copy_(torch.tensor(values, dtype=torch.float64))
        self._points = tuple(
            OperatingPoint(i, self.label(i), lmbda=v, width=w)
            for i, (w, v) in enumerate(zip(self.widths, values, strict=True))
        )

    def label(self, level: int) -> str:
        """Name of an operating point: its width."""
        return f"w{self.widths[level]}"

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not self.lambdas.is_meta:
            self.set_lambdas(self.lambdas.tolist())

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """One point a width, narrowest first."""
        return self._points
