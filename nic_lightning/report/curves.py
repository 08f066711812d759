"""Rows of results tables as rate-distortion curves. No torch needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.runs.results import mean

METRICS = {"psnr": "PSNR [dB]", "ms_ssim_db": "MS-SSIM [dB]", "lpips": "LPIPS"}
"""Qualities that curves are drawn over, and their axis titles; LPIPS is lower for better images."""
Interval = tuple[float, float]
Row = Mapping[str, Any]
_AVERAGED = ("bpp", "bpp_estimated", "psnr", "ms_ssim", "ms_ssim_db", "lpips", "accuracy", "encode_ms", "decode_ms")
_POINT = ("index", "label", "lmbda", "width", "mode", "quality", "step", "parameters", "macs")


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
    """Means over images: the averaged columns of the results table, the point's fields, "run", "images"."""
    items: frozenset[str] = frozenset()
    """Names of the images that every point was measured on; of published curves nobody knows them."""
    uneven: bool = False
    """Whether some points were measured on other images than others, or on an image twice."""
    rows: list[dict[str, Row]] = field(default_factory=list)
    """For each point, the row of the results table of every image; empty for published curves."""
    published: bool = False
    """Means over a data set that others published (`report/published.py`)."""
    source: str = ""
    """Where a published curve comes from."""
    db_of_mean: bool = False
    """Whether "ms_ssim_db" is that of the mean MS-SSIM; elsewhere it is the mean of the images' dB, which is higher."""

    def has(self, metric: str) -> bool:
        """Whether every point has this metric."""
        return bool(self.points) and all(point.get(metric) is not None for point in self.points)

    def keep(self, chosen: Sequence[int]) -> Curve:
        """The same curve with these points only, by their place."""
        rows = [self.rows[i] for i in chosen] if self.rows else []
        return replace(self, points=[self.points[i] for i in chosen], rows=rows)


def empty_point() -> dict[str, Any]:
    """A point of which nothing is known: every key that the points of curves have."""
    return dict.fromkeys((*_POINT, *_AVERAGED, "run", "images"))


def curves(rows: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """Curves of all data sets, learned codecs before classic ones.

    A run with several operating points is a curve, or one for each mode where a codec has several tasks. Runs with one
    operating point each, the same codec and the same experiment join into one; where several widths have the same
    lambdas, into one for each width, and where several folders of runs have them, into one for each folder. A classic
    codec that several runs measured with equal results is one curve.
    """
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        rate = row.get("bpp")
        if rate is not None and 0 < rate < math.inf:
            key = (_text(row, "dataset"), _text(row, "codec"), _text(row, "run"), _text(row, "mode"))
            groups.setdefault(key, []).append(row)
    singles: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    made: list[Curve] = []
    for (dataset, codec, _, mode), group in groups.items():
        labels = {row.get("label") for row in group}
        if len(labels) > 1:
            made.append(_curve(dataset, codec, group))
        else:
            singles.setdefault((dataset, codec, _text(group[0], "experiment"), mode), []).extend(group)
    for (dataset, codec, _, _), group in singles.items():
        made += [_curve(dataset, codec, part) for part in _unmixed(group)]
    made = _without_repeats(made)
    _name(made)
    order = datasets(made)
    return sorted(made, key=lambda curve: (order.index(curve.dataset), curve.classic))


def _unmixed(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """All rows; where runs share an operating point, those of each width, and if need be of each folder of runs."""
    parts = [rows]
    for key in (lambda row: row.get("width"), lambda row: _text(row, "run").rpartition("/")[0]):
        parts = [piece for part in parts for piece in (_grouped(part, key) if _share_a_point(part) else [part])]
    return parts


def _share_a_point(rows: Sequence[Row]) -> bool:
    runs = {(_text(row, "run"), row.get("label")) for row in rows}
    return len({label for _, label in runs}) < len(runs)


def _grouped(rows: Sequence[Row], key: Callable[[Row], Any]) -> list[list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def datasets(made: Sequence[Curve]) -> list[str]:
    """Names of the data sets, in the order of the curves."""
    return list(dict.fromkeys(curve.dataset for curve in made))


def shown_range(made: Sequence[Curve], metric: str) -> tuple[Interval, Interval] | None:
    """Rates and qualities that a plot opens with: those of the learned curves, and a little more.

    A classic codec's best quality costs several times the rate of any learned point and would squeeze these
    into a corner. None when there is no learned curve.
    """
    drawn = [curve for curve in made if curve.has(metric)]
    rates = [point["bpp"] for curve in drawn if not (curve.classic or curve.published) for point in curve.points]
    if not rates:
        return None
    right = 1.25 * max(rates)
    points = [point for curve in drawn for point in curve.points]
    values = [p[metric] for p in points if p["bpp"] <= right and math.isfinite(p[metric])]
    if not values:
        return None
    margin = 0.06 * (max(values) - min(values)) or 0.5
    return (0.0, right), (min(values) - margin, max(values) + margin)


def named(made: Sequence[Curve], wanted: str) -> Curve | None:
    """The first curve of that name; else of a run in a folder of that name; else of a codec of that name.

    Raises:
        UserError: the folders of several runs have that name.
    """
    named_so = next((curve for curve in made if wanted == curve.name), None)
    if named_so is not None:
        return named_so
    runs = dict.fromkeys(run for curve in made for run in curve.runs if f"/{run}".endswith(f"/{wanted}"))
    if len(runs) > 1:
        raise UserError(f"{wanted!r} is the folder of several runs: name one of {', '.join(map(repr, runs))}.")
    of_run = next((curve for curve in made if runs.keys() & set(curve.runs)), None)
    return of_run or next((curve for curve in made if wanted == curve.codec), None)


def default_anchor(made: Sequence[Curve]) -> Curve | None:
    """What BD-rates are told against: the first classic codec, else the first curve."""
    return next((curve for curve in made if curve.classic), made[0] if made else None)


def _curve(dataset: str, codec: str, rows: Sequence[Mapping[str, Any]]) -> Curve:
    groups: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((_text(row, "run"), row.get("label")), []).append(row)
    measured = [(_point(group), {_text(row, "item"): row for row in group}) for group in groups.values()]
    measured.sort(key=lambda pair: pair[0]["bpp"])
    items = [frozenset(by_item) for _, by_item in measured]
    experiments = {row.get("experiment") for row in rows}
    return Curve(
        name=codec,
        dataset=dataset,
        codec=codec,
        experiment=experiments.pop() if len(experiments) == 1 else None,
        runs=list(dict.fromkeys(_text(row, "run") for row in rows)),
        classic=all(row.get("quality") is not None for row in rows),
        points=[point for point, _ in measured],
        items=frozenset.intersection(*items),
        uneven=len(set(items)) > 1 or len(rows) > sum(map(len, items)),
        rows=[by_item for _, by_item in measured],
    )


def _point(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    point = empty_point() | {key: rows[0].get(key) for key in _POINT}
    point |= {key: mean(number(row, key) for row in rows) for key in _AVERAGED}
    point["label"] = str(point["label"]) if point["label"] is not None else ""
    return point | {"run": _text(rows[0], "run"), "images": len(rows)}


def number(row: Row, key: str) -> float | None:
    """A value of a row; None where it is missing, NaN, or no number, which further columns of a table may hold."""
    value = row.get(key)
    return value if isinstance(value, int | float) and not math.isnan(value) else None


def _without_repeats(made: Sequence[Curve]) -> list[Curve]:
    """Classic curves that were measured more than once with the same outcome count once."""
    kept: list[Curve] = []
    for curve in made:
        twin = next((other for other in kept if curve.classic and _same(curve, other)), None)
        if twin is None:
            kept.append(curve)
        else:
            twin.runs += [run for run in curve.runs if run not in twin.runs]
    return kept


def _same(a: Curve, b: Curve) -> bool:
    if (a.dataset, a.codec, a.items, len(a.points)) != (b.dataset, b.codec, b.items, len(b.points)):
        return False
    return all(
        p["label"] == q["label"] and abs(p["bpp"] - q["bpp"]) < 1e-9 for p, q in zip(a.points, b.points, strict=True)
    )


def _name(made: Sequence[Curve]) -> None:
    """The codec's name, with experiment or run where several curves of a data set share it."""
    for dataset in datasets(made):
        here = [curve for curve in made if curve.dataset == dataset]
        for curve in here:
            curve.name = _of_mode(curve)
        shared = [name for name in {c.name for c in here} if sum(c.name == name for c in here) > 1]
        for curve in here:
            if curve.name in shared:
                several = len(curve.runs) > 1
                curve.name = f"{curve.name} ({curve.experiment if several else curve.runs[0]})"
        for more in (_width, _folder):
            for curve in [curve for curve in here if sum(other.name == curve.name for other in here) > 1]:
                if known := more(curve):
                    curve.name = f"{curve.name.removesuffix(')')}, {known})"
        for curve in here:
            twins = [other for other in here if other.name == curve.name]
            for number, twin in enumerate(twins[1:], 2):
                twin.name = f"{twin.name} #{number}"


def _width(curve: Curve) -> str:
    """The width of all points of a curve; empty where there are several, or none."""
    widths = {point["width"] for point in curve.points}
    return f"width {widths.pop()}" if len(widths) == 1 and widths != {None} else ""


def _folder(curve: Curve) -> str:
    """The folder that several runs have in common; empty where they have none."""
    folders = {run.rpartition("/")[0] for run in curve.runs}
    return folders.pop() if len(curve.runs) > 1 and len(folders) == 1 else ""


def _of_mode(curve: Curve) -> str:
    modes = {point["mode"] for point in curve.points if point["mode"]}
    return " ".join([curve.codec, *sorted(modes)])


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)
