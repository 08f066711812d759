"""Bjontegaard delta rate: how many per cent more bits a codec needs for the same quality. No torch needed.

Bjontegaard 2001, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33, with piecewise
cubic (pchip) interpolation of log rate over quality, by the `bjontegaard` package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nic_lightning.errors import UserError

LOWER_IS_BETTER = frozenset({"lpips"})


class BdError(UserError):
    """Two curves that have no BD-rate: too few points, no overlap, or not monotone."""


@dataclass(frozen=True)
class BdResult:
    """A BD-rate, and the part of the curves that it speaks of."""

    value: float
    """Per cent of rate that the test curve needs over the anchor; negative where it saves."""
    overlap: tuple[float, float]
    """Interval of the metric (dB, or LPIPS) that both curves cover, from low to high."""
    overlap_fraction: float
    """Length of that interval over the length that either curve covers, in (0, 1]."""
    metric: str


def bd_rate(anchor: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]], metric: str = "psnr") -> BdResult:
    """BD-rate of `test` against `anchor`.

    Args:
        anchor: points of a curve in any order, each with "bpp" and the metric, and perhaps a "label".
        test: the same for the curve to judge.
        metric: key of the quality: "psnr", "ms_ssim_db", or "lpips" (lower is better).

    Raises:
        BdError: a curve has fewer than two points, a value is missing, quality does not rise with the rate,
            or the curves do not overlap. The sentence names the points.
    """
    import bjontegaard

    rate_anchor, quality_anchor = _checked(anchor, metric, "anchor")
    rate_test, quality_test = _checked(test, metric, "test")
    low = max(quality_anchor[0], quality_test[0])
    high = min(quality_anchor[-1], quality_test[-1])
    if high <= low:
        raise BdError(
            f"The curves do not overlap in {metric}: the anchor covers {_range(quality_anchor, metric)}, "
            f"the test curve {_range(quality_test, metric)}."
        )
    span = max(quality_anchor[-1], quality_test[-1]) - min(quality_anchor[0], quality_test[0])
    value = bjontegaard.bd_rate(
        rate_anchor,
        quality_anchor,
        rate_test,
        quality_test,
        method="pchip",
        require_matching_points=False,
        min_overlap=0,
    )
    overlap = (-high, -low) if metric in LOWER_IS_BETTER else (low, high)
    return BdResult(float(value), overlap, (high - low) / span, metric)  # type: ignore[arg-type]


def _checked(points: Sequence[Mapping[str, Any]], metric: str, role: str) -> tuple[list[float], list[float]]:
    """Rates and qualities (higher is better), both strictly rising; or a BdError."""
    if len(points) < 2:
        raise BdError(f"The {role} curve has {len(points)} point(s); a BD-rate needs at least two.")
    for point in points:
        rate, quality = point.get("bpp"), point.get(metric)
        if rate is None or not _finite(rate) or not _finite(quality) or rate <= 0:
            found = f"{rate} bpp, {metric} {quality}"
            raise BdError(f"Point {_name(point)} of the {role} curve has no usable values: {found}.")
    ordered = sorted(points, key=lambda point: point["bpp"])
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    rates = [float(point["bpp"]) for point in ordered]
    qualities = [sign * float(point[metric]) for point in ordered]
    for i in range(1, len(ordered)):
        if rates[i] <= rates[i - 1] or qualities[i] <= qualities[i - 1]:
            raise BdError(
                f"The {role} curve is not monotone: from {_name(ordered[i - 1])} ({rates[i - 1]:.4f} bpp, "
                f"{metric} {sign * qualities[i - 1]:.4f}) to {_name(ordered[i])} ({rates[i]:.4f} bpp, "
                f"{metric} {sign * qualities[i]:.4f}) quality does not improve with the rate."
            )
    return rates, qualities


def _range(qualities: list[float], metric: str) -> str:
    low, high = qualities[0], qualities[-1]
    if metric in LOWER_IS_BETTER:
        low, high = -high, -low
    return f"{low:.3f} to {high:.3f}"


def _name(point: Mapping[str, Any]) -> str:
    label = point.get("label")
    return repr(label) if label is not None else f"at {point.get('bpp')} bpp"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
