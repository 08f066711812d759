"""Bjontegaard deltas: bits that a codec needs for the same quality, quality that it gains at the same rate.

Bjontegaard 2001, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33, over the logarithm of
the rate, with piecewise cubic (pchip) interpolation by default, by the `bjontegaard` package. No torch needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nic_lightning.errors import UserError, counted
from nic_lightning.media.base import DEFAULT, Medium, find_medium

METHODS = ("pchip", "akima", "cubic")
"""Interpolations. "cubic" is Bjontegaard's own, one polynomial of degree three through all points."""
KINDS = ("rate", "quality")
RISE = 1e-8
"""Of the quality of a curve that is drawn on flat: the protocol's, so that it stays strictly monotone."""
Points = Sequence[Mapping[str, Any]]
"""Points of a curve in any order, each with its rate ("bpp" of images) and the metric, and perhaps a "label"."""


class BdError(UserError):
    """Two curves that have no Bjontegaard delta: too few points, no overlap, or not monotone."""


@dataclass(frozen=True)
class BdResult:
    """A Bjontegaard delta, and the part of the curves that it speaks of."""

    value: float
    """Kind "rate": per cent of rate that the test curve needs over the anchor; negative where it saves.
    Kind "quality": test minus anchor in the metric's unit; for LPIPS, too, so there negative is better."""
    overlap: tuple[float, float]
    """Interval that both curves cover, from low to high: of the metric (dB, or LPIPS), or for "quality" of the rate."""
    overlap_fraction: float
    """Length of that interval over the length that either curve covers, in (0, 1]; rates count by their logarithm."""
    metric: str
    kind: str = "rate"
    method: str = "pchip"


def bd_rate(
    anchor: Points,
    test: Points,
    metric: str = "psnr",
    method: str = "pchip",
    medium: Medium | None = None,
    flat: bool = False,
) -> BdResult:
    """BD-rate of `test` against `anchor`.

    Args:
        anchor: points of a curve in any order, each with its rate, "bpp" of images, and the metric, and perhaps a
            "label".
        test: the same for the curve to judge.
        metric: key of the quality: "psnr", "ms_ssim_db", "accuracy", ..., or "lpips" (lower is better).
        method: one of METHODS.
        medium: what the curves are of, which says how the rate is called and whether less is better; None: images.
        flat: draw the test curve on to the highest rate of the anchor, if it ends before, at its best quality. A
            classifier that is right as often as it can be gains nothing by more bits. This is the protocol of Ulhaq
            and Bajić, MMSP 2023, which takes method "akima" and draws no anchor on.

    Raises:
        BdError: a curve has too few points (fewer than two; four for "cubic"), a value is missing, quality does not
            rise with the rate, or the curves do not overlap. The sentence names the points.
    """
    return _delta(anchor, test, metric, "rate", method, medium or find_medium(None), flat)


def bd_quality(
    anchor: Points,
    test: Points,
    metric: str = "psnr",
    method: str = "pchip",
    medium: Medium | None = None,
    flat: bool = False,
) -> BdResult:
    """BD-PSNR, BD-MS-SSIM, BD-LPIPS, BD-accuracy: mean gain of `test` over `anchor` at the same rate.

    Arguments and errors are those of `bd_rate`; the curves have to overlap in rate instead.
    """
    return _delta(anchor, test, metric, "quality", method, medium or find_medium(None), flat)


def bd_rate_of_values(
    anchor_rates: Iterable[float],
    anchor_qualities: Iterable[float],
    test_rates: Iterable[float],
    test_qualities: Iterable[float],
    *,
    metric: str = "psnr",
    method: str = "pchip",
    medium: str = DEFAULT,
) -> float:
    """BD-rate in per cent of a test curve against an anchor; negative where the test curve takes fewer bits.

    The order is that of the package `bjontegaard`. `bd_rate` gives the overlap of the curves, too.

    Args:
        anchor_rates: bits per pixel, in any order.
        anchor_qualities: as many values, such as PSNR in dB.
        test_rates: as `anchor_rates`, of the curve to judge; it may have another number of points.
        test_qualities: as `anchor_qualities`.
        metric: name of the quality. The medium knows of which lower is better, of those of images "lpips".
        method: one of METHODS.
        medium: name of what the curves are of.

    Raises:
        BdError: a curve has too few points, lacks a value, is not monotone, or does not overlap the other one.
    """
    known = find_medium(medium)
    anchor = _points_of(anchor_rates, anchor_qualities, metric, "anchor", known)
    test = _points_of(test_rates, test_qualities, metric, "test", known)
    return bd_rate(anchor, test, metric, method, known).value


def _points_of(rates: Iterable[float], qualities: Iterable[float], metric: str, role: str, medium: Medium) -> Points:
    pair = list(rates), list(qualities)
    if len(pair[0]) != len(pair[1]):
        counts = f"{counted(len(pair[0]), 'rate')} and {len(pair[1])} of {metric}"
        raise BdError(f"The {role} curve has {counts}: give one quality for each rate.")
    try:
        return [{medium.rate.key: float(rate), metric: float(quality)} for rate, quality in zip(*pair, strict=True)]
    except (TypeError, ValueError) as error:
        raise BdError(f"The {role} curve has a value that is no number: {error}.") from error


def usable_points(
    points: Points, metric: str, role: str, medium: Medium, method: str = "pchip"
) -> tuple[list[float], list[float]]:
    """Rates, and qualities of which higher is better (so LPIPS negated), both strictly rising.

    Raises:
        BdError: there are no such; the sentence speaks of "the `role` curve".
    """
    least = 4 if method == "cubic" else 2
    if len(points) < least:
        needs = "at least two" if least == 2 else "at least four with cubic interpolation"
        raise BdError(f"The {role} curve has {counted(len(points), 'point')}; a Bjontegaard delta needs {needs}.")
    key, unit = medium.rate.key, medium.rate.unit
    for point in points:
        rate, quality = point.get(key), point.get(metric)
        if rate is None or not _finite(rate) or not _finite(quality) or rate <= 0:
            found = f"{rate} {unit}, {metric} {quality}"
            raise BdError(f"Point {_name(point, medium)} of the {role} curve has no usable values: {found}.")
    ordered = sorted(points, key=lambda point: point[key])
    sign = medium.sign(metric)
    rates = [float(point[key]) for point in ordered]
    qualities = [sign * float(point[metric]) for point in ordered]

    def place(i: int) -> str:
        numbers = f"{rates[i]:.4f} {unit}, {metric} {sign * qualities[i]:.4f}"
        label = ordered[i].get("label")
        return f"({numbers})" if label is None else f"{label!r} ({numbers})"

    for i in range(1, len(ordered)):
        if rates[i] <= rates[i - 1] or qualities[i] <= qualities[i - 1]:
            raise BdError(
                f"The {role} curve is not monotone: from {place(i - 1)} to {place(i)} quality does not improve with "
                "the rate."
            )
    return rates, qualities


def _drawn_on(rates: list[float], qualities: list[float], last: float) -> tuple[list[float], list[float]]:
    """A curve that goes on to the rate `last`, if it ends before, at its best quality."""
    return (rates, qualities) if rates[-1] >= last else ([*rates, last], [*qualities, qualities[-1] + RISE])


def _delta(anchor: Points, test: Points, metric: str, kind: str, method: str, medium: Medium, flat: bool) -> BdResult:
    import bjontegaard

    if method not in METHODS:
        raise BdError(f"There is no interpolation {method!r}; choose one of {', '.join(METHODS)}.")
    roles = ((anchor, "anchor"), (test, "test"))
    curves = [usable_points(points, metric, role, medium, method) for points, role in roles]
    if flat:
        curves[1] = _drawn_on(*curves[1], last=curves[0][0][-1])
    sign = medium.sign(metric)
    ranges = [_range(rates, qualities, kind) for rates, qualities in curves]
    low, high = max(ends[0] for ends in ranges), min(ends[1] for ends in ranges)
    if high <= low:
        shown = [_told(ends, sign, kind) for ends in ranges]
        where = metric if kind == "rate" else medium.rate.unit
        raise BdError(f"The curves do not overlap in {where}: the anchor covers {shown[0]}, the test curve {shown[1]}.")
    span = max(ends[1] for ends in ranges) - min(ends[0] for ends in ranges)
    function = bjontegaard.bd_rate if kind == "rate" else bjontegaard.bd_psnr
    values = [part for curve in curves for part in curve]
    value = float(function(*values, method=method, require_matching_points=False, min_overlap=0))  # type: ignore[arg-type]
    if kind == "quality":
        value = sign * value
    return BdResult(value + 0.0, _outward((low, high), sign, kind), (high - low) / span, metric, kind, method)


def _range(rates: list[float], qualities: list[float], kind: str) -> tuple[float, float]:
    """Ends of what the curve is integrated over: quality, or the logarithm of the rate."""
    return (qualities[0], qualities[-1]) if kind == "rate" else (math.log10(rates[0]), math.log10(rates[-1]))


def _outward(ends: tuple[float, float], sign: float, kind: str) -> tuple[float, float]:
    """The same in the metric's own unit, or in that of the rate."""
    if kind == "quality":
        return 10 ** ends[0], 10 ** ends[1]
    return (-ends[1], -ends[0]) if sign < 0 else ends


def _told(ends: tuple[float, float], sign: float, kind: str) -> str:
    low, high = _outward(ends, sign, kind)
    return f"{low:.3f} to {high:.3f}"


def _name(point: Mapping[str, Any], medium: Medium) -> str:
    label = point.get("label")
    return repr(label) if label is not None else f"at {point.get(medium.rate.key)} {medium.rate.unit}"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
