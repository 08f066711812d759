"""What a codec of clouds gives back, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class CloudResult:
    """What a receiver knows of N clouds."""

    log_probabilities: Tensor
    """Of each class, natural logarithms, (N, K)."""
    points: Tensor | None = None
    """Reconstructions (N, P, 3); None where the codec has none."""
    classes: tuple[str, ...] = ()
    """Names of the K classes; none: their numbers."""

    @property
    def shape(self) -> torch.Size:
        """(N, K)."""
        return self.log_probabilities.shape

    def to(self, device: torch.device | str) -> CloudResult:
        """The same on another device."""
        points = None if self.points is None else self.points.to(device)
        return replace(self, log_probabilities=self.log_probabilities.to(device), points=points)

    def name(self, number: int) -> str:
        """What a class is called."""
        return self.classes[number] if number < len(self.classes) else f"class {number}"


@dataclass(frozen=True)
class Labelled:
    """A cloud of a data set: points (1, P, 3), and the number of its class, None where nobody said."""

    points: Tensor
    label: int | None
