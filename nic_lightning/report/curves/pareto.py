"""The best points of curves that many runs make up: Pareto front and convex hull. No torch needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nic_lightning.report.curves.curve import Curve


def joined(made: Sequence[Curve]) -> list[Curve]:
    """One curve for each codec and data set, of the points of all its runs; published curves stay apart.

    Every point keeps its run. A curve of runs that were measured on different images is `uneven`.
    """
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in made:
        key = (curve.dataset, curve.name, "published") if curve.published else (curve.dataset, curve.codec)
        groups.setdefault(key, []).append(curve)
    return [_join(group) if len(group) > 1 else group[0] for group in groups.values()]


def pareto(curve: Curve, metric: str) -> Curve:
    """Only the points that no other beats: none has at least their quality for at most their rate.

    Points without the metric are left out, and so are, at all points, images without a finite value of it.
    """
    curve = curve.over(metric)
    best, chosen = -float("inf"), []
    for i in sorted(_known(curve, metric), key=lambda i: (curve.rates[i], -_quality(curve, i, metric))):
        if _quality(curve, i, metric) > best:
            best = _quality(curve, i, metric)
            chosen.append(i)
    return _kept(curve, chosen)


def convex_hull(curve: Curve, metric: str) -> Curve:
    """Only the points on the upper convex hull of the Pareto front, in the plane of rate and metric.

    Between two of its points the front never comes above the straight line; in LPIPS never below.
    """
    front = pareto(curve, metric)
    chosen: list[int] = []
    for i in range(len(front.points)):
        while len(chosen) > 1 and _below(front, metric, chosen[-2], chosen[-1], i):
            chosen.pop()
        chosen.append(i)
    return _kept(front, chosen)


def _join(group: Sequence[Curve]) -> Curve:
    pairs = [pair for curve in group for pair in zip(curve.points, curve.rows, strict=True)]
    pairs.sort(key=lambda pair: pair[0][group[0].medium.rate.key])
    return replace(
        group[0],
        name=group[0].codec,
        experiment=group[0].experiment if len({curve.experiment for curve in group}) == 1 else None,
        runs=list(dict.fromkeys(run for curve in group for run in curve.runs)),
        points=[point for point, _ in pairs],
        rows=[row for _, row in pairs],
        items=frozenset.intersection(*(curve.items for curve in group)),
        uneven=any(curve.uneven for curve in group) or len({curve.items for curve in group}) > 1,
    )


def _kept(curve: Curve, chosen: Sequence[int]) -> Curve:
    kept = curve.keep(chosen)
    return kept if curve.published else replace(kept, runs=list(dict.fromkeys(point["run"] for point in kept.points)))


def _known(curve: Curve, metric: str) -> list[int]:
    return [i for i, point in enumerate(curve.points) if point.get(metric) is not None]


def _quality(curve: Curve, i: int, metric: str) -> float:
    """More is better."""
    return curve.medium.sign(metric) * curve.points[i][metric]


def _below(curve: Curve, metric: str, left: int, middle: int, right: int) -> bool:
    """Whether the middle point lies below the line between the others."""
    x = [curve.rates[i] for i in (left, middle, right)]
    y = [_quality(curve, i, metric) for i in (left, middle, right)]
    return (y[1] - y[0]) * (x[2] - x[0]) < (y[2] - y[0]) * (x[1] - x[0])
