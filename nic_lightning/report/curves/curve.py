"""A rate-distortion curve: means over images, rates and qualities always over the same ones. No torch needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from nic_lightning.media.base import Medium, find_medium
from nic_lightning.runs.record.results import mean_of_all

IMAGE = find_medium(None)
Row = Mapping[str, Any]
TIMES = ("encode_ms", "decode_ms")
_POINT = ("index", "label", "lmbda", "width", "mode", "quality", "step", "parameters", "macs")
_NAMED = 4
"""Images that a sentence names; it counts the others."""


@dataclass
class Curve:
    """A codec's operating points on one data set, from the lowest rate to the highest."""

    name: str
    dataset: str
    codec: str
    experiment: str | None
    runs: list[str]
    classic: bool
    """JPEG and its like: nothing was trained."""
    points: list[dict[str, Any]] = field(default_factory=list)
    """Means over images: the averaged columns of the results table, the point's fields, "run", "images".

    A column that only some of a point's images have a value of is None there: see `over`.
    """
    items: frozenset[str] = frozenset()
    """Names of the images that every point was measured on; of published curves nobody knows them."""
    uneven: bool = False
    """Whether some points were measured on other images than others, or on an image twice."""
    rows: list[dict[str, Row]] = field(default_factory=list)
    """For each point, the row of the results table of every image; empty for published curves."""
    published: bool = False
    """Means over a data set that others published (`report/curves/published.py`)."""
    source: str = ""
    """Where a published curve comes from."""
    note: str = ""
    """What the reader has to know of how it was chosen."""
    db_of_mean: bool = False
    """Whether "ms_ssim_db" is that of the mean MS-SSIM; elsewhere it is the mean of the images' dB, which is higher."""
    left_out: frozenset[str] = frozenset()
    """Images of the data set that the means are not over."""
    medium: Medium = IMAGE
    """What the codec takes and gives back: it names the rate and the qualities of points and rows."""
    _gaps: dict[str, frozenset[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def rates(self) -> list[float]:
        """The rate of each point, from the lowest on."""
        return [point[self.medium.rate.key] for point in self.points]

    def has(self, metric: str) -> bool:
        """Whether every point has this metric, on the images that it can be given for."""
        points = self.over(metric).points
        return bool(points) and all(point.get(metric) is not None for point in points)

    def over(self, metric: str) -> Curve:
        """The same curve over the images that have the metric at every point, rates too: itself where all have it."""
        return self.without(self.gaps(metric))

    def gaps(self, metric: str) -> frozenset[str]:
        """Images without a finite value of the metric: too small for MS-SSIM, or of infinite PSNR, since exact.

        None where no image has one. A point at which most images are exact, as lossless coding has it, is no reason to
        leave out these images: it is the point that has no finite value.
        """
        if metric not in self._gaps:
            self._gaps[metric] = self._find_gaps(metric)
        return self._gaps[metric]

    def _find_gaps(self, metric: str) -> frozenset[str]:
        known = [{item: _is_finite(number(row, metric)) for item, row in by_item.items()} for by_item in self.rows]
        ever = {item for by_item in known for item, finite in by_item.items() if finite}
        if not ever:
            return frozenset()
        gone = {item for by_item in known for item in by_item if item not in ever}
        for by_item in known:
            without = {item for item, finite in by_item.items() if item in ever and not finite}
            if 2 * len(without) <= len(by_item.keys() & ever):
                gone |= without
        return frozenset(gone)

    def without(self, images: Iterable[str]) -> Curve:
        """The same curve without these images; no point where none is left."""
        gone = frozenset(images) & frozenset(item for by_item in self.rows for item in by_item)
        if not gone:
            return self
        rows = [{item: row for item, row in by_item.items() if item not in gone} for by_item in self.rows]
        rows = [by_item for by_item in rows if by_item]
        points = [mean_point(list(by_item.values()), self.medium) for by_item in rows]
        order = sorted(range(len(points)), key=lambda i: points[i][self.medium.rate.key])
        return replace(
            self,
            points=[points[i] for i in order],
            rows=[rows[i] for i in order],
            items=self.items - gone,
            left_out=self.left_out | gone,
        )

    def keep(self, chosen: Sequence[int]) -> Curve:
        """The same curve with these points only, by their place."""
        rows = [self.rows[i] for i in chosen] if self.rows else []
        return replace(self, points=[self.points[i] for i in chosen], rows=rows)


def over_the_same(made: Sequence[Curve], metric: str) -> list[Curve]:
    """The curves of one data set that have a metric, all of them over the images that have it in each."""
    gone = frozenset[str]().union(*(curve.gaps(metric) for curve in made))
    return [curve for curve in (one.without(gone) for one in made) if curve.has(metric)]


class Gap(NamedTuple):
    """A quality that some images of a data set have no finite value of."""

    metric: str
    curves: list[Curve]
    """Those that have it, over the images that all of them have values on."""
    about: str
    """Which images these are, as `about_gaps` has it."""


def gaps_of(here: Sequence[Curve]) -> list[Gap]:
    """The qualities with gaps of the curves of one data set; empty where the means of all are over all images."""
    found = []
    for metric in drawn_over(here):
        gone = frozenset[str]().union(*(curve.gaps(metric) for curve in here))
        if gone and (measured := over_the_same(here, metric)):
            images = max(len(by_item) for curve in measured for by_item in curve.rows)
            found.append(Gap(metric, measured, about_gaps(metric, images, gone, here[0].medium)))
    return found


def drawn_over(here: Sequence[Curve]) -> tuple[str, ...]:
    """Qualities that the curves of one data set are drawn over."""
    return tuple(here[0].medium.drawn) if here else ()


def about_gaps(metric: str, images: int, left_out: Iterable[str], medium: Medium = IMAGE) -> str:
    """Which images a mean is over: "2 of 4 images: a and b have no finite MS-SSIM"."""
    gone = sorted(left_out)
    named = gone if len(gone) <= _NAMED else [*gone[: _NAMED - 1], f"{len(gone) - _NAMED + 1} more"]
    text = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    verb = "has" if len(gone) == 1 else "have"
    total = images + len(gone)
    return f"{images} of {total} {medium.items}: {text} {verb} no finite {medium.quality(metric).title}"


def empty_point(medium: Medium = IMAGE) -> dict[str, Any]:
    """A point of which nothing is known: every key that the points of curves have."""
    return dict.fromkeys((*_POINT, *medium.averaged, *TIMES, "run", "images"))


def mean_point(rows: Sequence[Row], medium: Medium = IMAGE) -> dict[str, Any]:
    """A curve's point of the rows of its images; a column that some of them lack is None."""
    point = empty_point(medium) | {key: rows[0].get(key) for key in _POINT}
    point |= {key: mean_of_all(number(row, key) for row in rows) for key in (*medium.averaged, *TIMES)}
    point["label"] = str(point["label"]) if point["label"] is not None else ""
    run = rows[0].get("run")
    return point | {"run": "" if run is None else str(run), "images": len(rows)}


def number(row: Row, key: str) -> float | None:
    """A value of a row; None where it is missing, NaN, or no number, which further columns of a table may hold."""
    value = row.get(key)
    return value if isinstance(value, int | float) and not math.isnan(value) else None


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def to_db(similarity: float) -> float:
    """MS-SSIM in [-1, 1] as -10 log10(1 - MS-SSIM); infinite for 1."""
    return -10 * math.log10(1 - similarity) if similarity < 1 else math.inf
