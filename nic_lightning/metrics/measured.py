"""What an evaluation finds of one image. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One image of one codec at all operating points: rows of the results table, or the reason why there are none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rates: list[tuple[str, str, list[float]]] = field(default_factory=list)
    """Bits per pixel of each latent channel: label of the point, latent, a number for each channel."""
    refused: str | None = None
