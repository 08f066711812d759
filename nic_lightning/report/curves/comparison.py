"""Curves against an anchor: Bjontegaard deltas, what they speak of, and how sure they are. No torch needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np

from nic_lightning.errors import UserError, counted
from nic_lightning.media.base import Medium
from nic_lightning.metrics.bd import KINDS, METHODS, BdError, BdResult, Points, bd_quality, bd_rate
from nic_lightning.metrics.bootstrap import DRAWS, MIN_IMAGES, Interval, Measured, bootstrap, bootstrap_mean
from nic_lightning.report.curves.curve import Curve, about_gaps, number, to_db


@dataclass(frozen=True)
class _Wanted:
    """What `compare` was asked for."""

    metric: str
    kind: str
    method: str
    draws: int
    seed: int
    medium: Medium
    flat: bool

    def delta(self, anchor: Points, test: Points) -> BdResult:
        function = bd_rate if self.kind == "rate" else bd_quality
        return function(anchor, test, self.metric, self.method, self.medium, self.flat)


@dataclass(frozen=True)
class Comparison:
    """Bjontegaard delta of a curve against an anchor, or the sentence why there is none."""

    anchor: str
    test: str
    metric: str
    result: BdResult | None
    problem: str | None = None
    interval: Interval | None = None
    """Of the value, by bootstrap over images; None where it was not asked for, and where `note` says why."""
    note: str | None = None
    """What to know about the value: why it has no interval, what was compared."""
    images: int | None = None
    """How many images the value is of; None against published means."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Per image: images whose own curves have no delta, and why."""
    without: tuple[str, ...] = ()
    """Images that it is not of, since a curve has no finite value of the metric there."""


def compare(
    anchor: Curve,
    test: Curve,
    metric: str,
    *,
    kind: str = "rate",
    method: str = "pchip",
    per_image: bool = False,
    draws: int = 0,
    seed: int = 0,
    flat: bool = False,
) -> Comparison:
    """Delta of `test` against `anchor`, or why there is none.

    It is of the images that have a finite value of the metric on both curves, rates too.

    Args:
        anchor: curve to compare with.
        test: curve to judge, of the same data set.
        metric: a quality of their medium, such as "psnr".
        kind: "rate", per cent of rate at equal quality, or "quality", gain in quality at equal rate.
        method: interpolation, one of METHODS.
        per_image: a delta for each image's own curves, and their mean; else the delta of the curves of means.
        draws: bootstrap draws for the interval; 0: no interval.
        seed: of the draws.
        flat: draw the test curve on to the highest rate of the anchor at its best quality (`metrics.bd.bd_rate`).

    Raises:
        UserError: there is no such metric, kind or method.
    """
    for value, known in ((metric, anchor.medium.compared), (kind, KINDS), (method, METHODS)):
        if value not in known:
            raise UserError(f"Curves are not compared by {value!r}; choose one of {', '.join(known)}.")
    problem = _different_images(anchor, test)
    if problem is None:
        wanted = _Wanted(metric, kind, method, draws, seed, anchor.medium, flat)
        try:
            if anchor.published or test.published:
                return _with_published(anchor, test, wanted, per_image)
            return _of_the_same(anchor, test, wanted, _per_image if per_image else _of_means)
        except BdError as error:
            problem = str(error)
    return Comparison(anchor.name, test.name, metric, None, problem)


def _of_the_same(
    anchor: Curve, test: Curve, wanted: _Wanted, delta: Callable[[Curve, Curve, _Wanted], Comparison]
) -> Comparison:
    """The delta over the images that have the metric on both curves; its note says which have not."""
    gone = anchor.gaps(wanted.metric) | test.gaps(wanted.metric)
    found = delta(anchor.without(gone), test.without(gone), wanted)
    if not gone:
        return found
    notes = [f"Over {about_gaps(wanted.metric, found.images or 0, gone, wanted.medium)}.", found.note]
    return replace(found, note=" ".join(filter(None, notes)), without=tuple(sorted(gone)))


def comparisons(made: Sequence[Curve], anchor: Curve, metric: str, **options: Any) -> list[Comparison]:
    """`compare` of every other curve of the anchor's data set with it, 1,000 draws by default."""
    others = [curve for curve in made if curve.dataset == anchor.dataset and curve is not anchor]
    return [compare(anchor, curve, metric, **{"draws": DRAWS, **options}) for curve in others]


def _different_images(anchor: Curve, test: Curve) -> str | None:
    if anchor.medium != test.medium:
        return f"The two curves are of different media: {anchor.medium.items} and {test.medium.items}."
    items = anchor.medium.items
    if anchor.dataset != test.dataset:
        return f"The two curves are of different data sets: {anchor.dataset} and {test.dataset}."
    if anchor.uneven or test.uneven:
        return f"The points of a curve were measured on different {items}, or on {anchor.medium.one} twice."
    if anchor.published or test.published:
        counts = [{point["images"] for point in curve.points} - {None} for curve in (anchor, test)]
        if counts[0] and counts[1] and counts[0] != counts[1]:
            told = [" and ".join(str(count) for count in sorted(of_one)) for of_one in counts]
            return f"The two curves are means over different numbers of {items}, {told[0]} and {told[1]}."
    elif anchor.items != test.items:
        return f"The two curves were measured on different {items}."
    return None


def _of_means(anchor: Curve, test: Curve, wanted: _Wanted) -> Comparison:
    result = wanted.delta(anchor.points, test.points)
    images, interval, note = len(anchor.items), None, None
    if wanted.draws and images < MIN_IMAGES:
        note = f"{counted(images, anchor.medium.name, 'is/are')} too few for an interval."
    elif wanted.draws:
        interval, note = _interval(anchor, test, wanted)
    return Comparison(anchor.name, test.name, wanted.metric, result, None, interval, note, images)


def _interval(anchor: Curve, test: Curve, wanted: _Wanted) -> tuple[Interval | None, str | None]:
    """The interval, or why there is none."""
    first, second = _measured(anchor, wanted.metric), _measured(test, wanted.metric)
    if first is None or second is None:
        return None, f"There is no interval, because some {wanted.medium.items} have no value."
    options = {"draws": wanted.draws, "seed": wanted.seed, "flat": wanted.flat}
    interval = bootstrap(first, second, wanted.metric, wanted.kind, wanted.method, medium=wanted.medium, **options)
    often = (
        f"There is no interval: with other {wanted.medium.items} the curves are often not monotone or do not overlap."
    )
    return interval, None if interval else often


def _per_image(anchor: Curve, test: Curve, wanted: _Wanted) -> Comparison:
    found: dict[str, BdResult] = {}
    left_out: dict[str, str] = {}
    for item in sorted(anchor.items):
        try:
            found[item] = wanted.delta(_image_points(anchor, item), _image_points(test, item))
        except BdError as error:
            left_out[item] = str(error)
    if not found:
        raise BdError(
            f"No {wanted.medium.name} has a delta of its own; {next(iter(left_out))}: {next(iter(left_out.values()))}"
        )
    values = [one.value for one in found.values()]
    interval, notes = None, []
    if wanted.draws and len(values) < MIN_IMAGES:
        notes.append(f"{counted(len(values), wanted.medium.name, 'is/are')} too few for an interval.")
    elif wanted.draws:
        interval = bootstrap_mean(np.array(values), draws=wanted.draws, seed=wanted.seed)
    if left_out:
        gone = f"{len(left_out)} of {counted(len(anchor.items), wanted.medium.name)} without a delta of their own"
        notes.append(f"Left out {gone}: {', '.join(left_out)}.")
    result, note = _mean_result(list(found.values())), " ".join(notes) or None
    return Comparison(anchor.name, test.name, wanted.metric, result, None, interval, note, len(values), left_out)


def _mean_result(results: Sequence[BdResult]) -> BdResult:
    """Mean value and overlap fraction; the overlap from the lowest end to the highest."""
    return replace(
        results[0],
        value=fmean(one.value for one in results),
        overlap=(min(one.overlap[0] for one in results), max(one.overlap[1] for one in results)),
        overlap_fraction=fmean(one.overlap_fraction for one in results),
    )


def _with_published(anchor: Curve, test: Curve, wanted: _Wanted, per_image: bool) -> Comparison:
    if per_image:
        item = wanted.medium.name
        raise BdError(f"A published curve is a mean over {item}s and cannot be compared {item} by {item}.")
    for curve in (anchor, test):
        if gone := curve.gaps(wanted.metric):
            about = about_gaps(wanted.metric, len(curve.items - gone), gone, wanted.medium)
            raise BdError(
                f"A published curve is a mean over all {wanted.medium.items}, and {curve.name} has values on {about}."
            )
    points = [anchor.points, test.points]
    note = "Against a published mean curve, so without an interval."
    if wanted.metric == "ms_ssim_db" and (anchor.db_of_mean or test.db_of_mean):
        points = [_with_db_of_mean(curve) for curve in (anchor, test)]
        note += " MS-SSIM in dB is that of the mean on both sides."
    if not wanted.metric.startswith("ms_ssim"):
        for curve in (anchor, test):
            note += f" {curve.name} was trained for MS-SSIM." * (curve.published and curve.codec.endswith("-ms-ssim"))
    return Comparison(anchor.name, test.name, wanted.metric, wanted.delta(*points), None, None, note)


def _with_db_of_mean(curve: Curve) -> list[dict[str, Any]]:
    """Points with the dB of the mean MS-SSIM, as the published ones have it."""
    if not curve.has("ms_ssim"):
        raise BdError(
            f"{curve.name} has no mean MS-SSIM, only a mean of dB, which would not compare with the dB of a mean."
        )
    return [{**point, "ms_ssim_db": to_db(point["ms_ssim"])} for point in curve.points]


def _image_points(curve: Curve, item: str) -> list[dict[str, Any]]:
    return [{**by_item[item], "label": point["label"]} for point, by_item in zip(curve.points, curve.rows, strict=True)]


def _measured(curve: Curve, metric: str) -> Measured | None:
    """Rates and qualities, (images, points); None when one is missing."""
    items = sorted(curve.items)
    cells = [
        [[number(by_item[item], key) for by_item in curve.rows] for item in items]
        for key in (curve.medium.rate.key, metric)
    ]
    if any(cell is None for rows in cells for row in rows for cell in row):
        return None
    return Measured(np.array(cells[0], dtype=float), np.array(cells[1], dtype=float))
