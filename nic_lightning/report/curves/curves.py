"""Rows of results tables as rate-distortion curves. No torch needed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.media.base import DEFAULT, find_medium
from nic_lightning.report.curves.curve import Curve, Row, mean_point, over_the_same

Interval = tuple[float, float]


def curves(rows: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """Curves of all data sets, learned codecs before classic ones.

    A run with several operating points is a curve, or one for each mode where a codec has several tasks. Runs with one
    operating point each, the same codec and the same experiment join into one; where several widths have the same
    lambdas, into one for each width, and where several folders of runs have them, into one for each folder. Runs of
    experiments of their own join where their configs differ in nothing but lambda ("series"). A classic codec that
    several runs measured with equal results is one curve. Curves of several media share no data set (`told_apart`).

    Raises UserError for a medium that is not known.
    """
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = {}
    for row in told_apart(rows):
        rate = row.get(find_medium(row.get("medium")).rate.key)
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
    for dataset, codec, group in _joined(singles):
        made += [_curve(dataset, codec, part) for part in _unmixed(group)]
    made = _without_repeats(made)
    _name(made)
    order = datasets(made)
    return sorted(made, key=lambda curve: (order.index(curve.dataset), curve.classic))


def told_apart(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows; where a data set was measured in several media, others than images call it "NAME (MEDIA)"."""
    listed = list(rows)
    media: dict[str, set[str]] = {}
    for row in listed:
        media.setdefault(_text(row, "dataset"), set()).add(row.get("medium") or DEFAULT)
    shared = {name for name, found in media.items() if len(found) > 1}
    return [
        {**row, "dataset": f"{row['dataset']} ({find_medium(row['medium']).items})"}
        if _text(row, "dataset") in shared and row.get("medium") not in (None, DEFAULT)
        else row
        for row in listed
    ]


def _joined(singles: Mapping[tuple[str, str, str, str], list[Row]]) -> list[tuple[str, str, list[Row]]]:
    """Data set, codec and rows of runs of one point each; runs alone in their experiment by their series."""
    made: list[tuple[str, str, list[Row]]] = []
    by_series: dict[tuple[str, str, str, str], list[Row]] = {}
    for (dataset, codec, _, mode), group in singles.items():
        key = (dataset, codec, mode, _text(group[0], "series"))
        alone = len({_text(row, "run") for row in group}) == 1 and key[-1]
        together = by_series.get(key) if alone else None
        if together is not None and not _share_a_point([*together, *group]):
            together.extend(group)
            continue
        made.append((dataset, codec, list(group)))
        if alone:
            by_series[key] = made[-1][2]
    return made


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
    drawn = over_the_same(made, metric)
    rates = [rate for curve in drawn if not (curve.classic or curve.published) for rate in curve.rates]
    if not rates:
        return None
    right = 1.25 * max(rates)
    pairs = [pair for curve in drawn for pair in zip(curve.rates, curve.points, strict=True)]
    values = [p[metric] for rate, p in pairs if rate <= right and math.isfinite(p[metric])]
    if not values:
        return None
    margin = 0.06 * (max(values) - min(values)) or 0.5
    low, high = min(values) - margin, max(values) + margin
    medium = drawn[0].medium
    if medium.quality(metric).log_axis:
        low, high = min(values) / 1.1, max(values) * 1.1
    return (min(rates) / 1.25 if medium.rate.log_axis else 0.0, right), (low, high)


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
    """What BD-rates are computed against: the first classic codec, else the first curve."""
    return next((curve for curve in made if curve.classic), made[0] if made else None)


def _curve(dataset: str, codec: str, rows: Sequence[Mapping[str, Any]]) -> Curve:
    groups: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((_text(row, "run"), row.get("label")), []).append(row)
    medium = find_medium(rows[0].get("medium"))
    measured = [(mean_point(group, medium), {_text(row, "item"): row for row in group}) for group in groups.values()]
    measured.sort(key=lambda pair: pair[0][medium.rate.key])
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
        medium=medium,
    )


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
        p["label"] == q["label"] and abs(one - other) < 1e-9
        for p, q, one, other in zip(a.points, b.points, a.rates, b.rates, strict=True)
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
                curve.name = f"{curve.name} ({_of_runs(curve)})"
        for more in (_width, _folder):
            for curve in [curve for curve in here if sum(other.name == curve.name for other in here) > 1]:
                if known := more(curve):
                    curve.name = f"{curve.name.removesuffix(')')}, {known})"
        for curve in here:
            twins = [other for other in here if other.name == curve.name]
            for number, twin in enumerate(twins[1:], 2):
                twin.name = f"{twin.name} #{number}"


def _of_runs(curve: Curve) -> str:
    """The run, or what several have in common: their experiment, else how their names begin, else all names."""
    if len(curve.runs) == 1:
        return curve.runs[0]
    equal = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*curve.runs, strict=False))
    common = "".join(letters[0] for letters in equal).rstrip("/_-=.0123456789")
    return curve.experiment or common or ", ".join(curve.runs)


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
