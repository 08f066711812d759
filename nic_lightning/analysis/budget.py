"""Operating points that fit a budget of operations or of time: what a slimmable codec offers beside a rate."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence

from torch import Tensor

from nic_lightning.analysis.efficiency import measure
from nic_lightning.analysis.latency import stage_times
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.media.base import DEFAULT, medium_of

REPEAT = 5
"""Passes that the median of a latency is taken of, after one that is not counted."""


class Budget:
    """Limits on both transforms together, analysis and synthesis; entropy coding and hyper transforms are left out.

    Args:
        codec: one whose points differ in cost; UserError for another.
        max_macs: multiply-accumulates for each pixel of the image itself, padding included in the count.
        max_latency_ms: milliseconds on this machine for an image of that size.
    """

    def __init__(self, codec: LearnedCodec, max_macs: float | None = None, max_latency_ms: float | None = None):
        for name, value in (("--max-macs", max_macs), ("--max-latency-ms", max_latency_ms)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} {value:g} is not a positive number.")
        self.codec, self.max_macs, self.max_latency_ms = codec, max_macs, max_latency_ms
        self._known: dict[tuple[int, int], tuple[Sequence[OperatingPoint], str | None]] = {}
        if medium_of(codec).name != DEFAULT:
            raise UserError("--max-macs and --max-latency-ms are for codecs of images.")
        # Convolutions cost in proportion to the padded image: one tile gives the cost of any size.
        tile = measure(codec, (codec.downsampling, codec.downsampling)).points
        macs = [p.analysis.macs_per_pixel + p.synthesis.macs_per_pixel for p in tile]
        if len(set(macs)) == 1:
            raise UserError(
                f"Every operating point of codec {codec.name} costs the same, {macs[0]:,.0f} MAC/pixel: --max-macs and "
                "--max-latency-ms choose among the widths of a slimmable codec."
            )
        self._ranked = sorted(zip(macs, codec.operating_points, strict=True), key=lambda pair: pair[0])

    def points(self, x: Tensor) -> tuple[Sequence[OperatingPoint], str | None]:
        """Points within the budget for image `x` (1, 3, H, W), the costliest last.

        Where there are none, the cheapest point, and a message that says so.
        """
        size = (x.shape[-2], x.shape[-1])
        if size not in self._known:
            self._known[size] = self._find(x)
        return self._known[size]

    def _find(self, x: Tensor) -> tuple[Sequence[OperatingPoint], str | None]:
        padding = self.codec.pad(x).numel() / x.numel()
        fitting = [point for macs, point in self._ranked if self.max_macs is None or macs * padding <= self.max_macs]
        if not fitting:
            least, cheapest = self._ranked[0]
            return [cheapest], (
                f"No operating point takes {self.max_macs:,.0f} MAC/pixel or less on this image; the cheapest takes "
                f"{least * padding:,.0f}."
            )
        return (fitting, None) if self.max_latency_ms is None else self._in_time(x, fitting, self.max_latency_ms)

    def _in_time(
        self, x: Tensor, ranked: list[OperatingPoint], limit: float
    ) -> tuple[Sequence[OperatingPoint], str | None]:
        fitting = []
        for point in ranked:  # costlier ones than the first that is too slow are not tried
            latency = transforms_ms(self.codec, x, point)
            if latency > limit:
                break
            fitting.append(point)
        if fitting:
            return fitting, None
        return ranked[:1], (
            f"The cheapest operating point takes {latency:.1f} ms for this image on this machine, more than "
            f"{limit:g} ms; the others were not tried."
        )


def transforms_ms(codec: LearnedCodec, x: Tensor, point: OperatingPoint) -> float:
    """Median milliseconds that analysis and synthesis of `x` take together."""
    passes = [sum(stage_times(codec, x, point, coding=False).values()) for _ in range(REPEAT + 1)]
    return statistics.median(passes[1:])


def parse_macs(text: str) -> float:
    """Number of "4096", "10k" or "1.5M"; UserError for anything else."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)([kM]?)", text)
    if not match:
        raise UserError(f"'{text}' is not a number of multiply-accumulates a pixel; write 4096, 10k or 1.5M.")
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6}[match[2]]
