"""What the page's scripts draw from: curves, rows and configurations as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.media.base import Medium
from nic_lightning.report.curves.curve import IMAGE, TIMES, Curve, gaps_of
from nic_lightning.report.curves.curves import datasets
from nic_lightning.report.page.columns import code_column, finite, number_column, shortened, text_column
from nic_lightning.report.page.plots import PALETTE
from nic_lightning.runs.index.index import Run

Row = Mapping[str, Any]
MAX_ROWS = 250_000
"""Rows of the per-image table; more make no page that a browser opens at once."""
MAX_CURVES = 400
MAX_KEYS, MAX_VALUE = 2000, 160
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star")


def media_of(made: Sequence[Curve]) -> list[Medium]:
    """The media of curves, that of images where there is none."""
    found: list[Medium] = []
    for curve in made:
        found += [curve.medium] if curve.medium not in found else []
    return found or [IMAGE]


def number_keys(media: Sequence[Medium]) -> list[str]:
    """Numeric columns of the per-image table."""
    return list(dict.fromkeys([*(key for one in media for key in (*one.rates, *one.drawn)), *TIMES]))


def metric_data(made: Sequence[Curve]) -> list[dict[str, Any]]:
    """The qualities that some curve has: medium, key, axis title, name, unit, digits, and whether less is better."""
    found = []
    for medium in media_of(made):
        here = [curve for curve in made if curve.medium == medium]
        for key, quality in medium.drawn.items():
            if any(curve.has(key) for curve in here):
                shown = {"medium": medium.name, "key": key, "title": quality.axis, "name": quality.title}
                shown |= {"unit": quality.suffix, "digits": quality.digits, "lower": quality.lower_is_better}
                found.append(shown | {"log": quality.log_axis})
    return found


def medium_data(made: Sequence[Curve]) -> dict[str, Any]:
    """What the page calls things, by medium, and the medium of each data set."""
    told = {
        medium.name: {
            "item": medium.name,
            "rate": medium.rate.key,
            "estimated": medium.rate.estimated,
            "unit": medium.rate.unit,
            "axis": medium.rate.axis,
            "log": medium.rate.log_axis,
        }
        for medium in media_of(made)
    }
    return {"media": told, "medium_of": {curve.dataset: curve.medium.name for curve in made}}


def column_data(media: Sequence[Medium]) -> list[dict[str, Any]]:
    """Numeric columns of the per-image table: key, title and digits."""
    found: dict[str, dict[str, Any]] = {}
    for medium in media:
        found[medium.rate.key] = {"title": medium.rate.unit, "digits": 4}
        found[medium.rate.estimated] = {"title": "estimated", "digits": 4}
        found |= {key: {"title": f"{q.title}{q.suffix}", "digits": q.digits} for key, q in medium.drawn.items()}
    return [{"key": key, **shown} for key, shown in found.items()]


def curve_data(made: Sequence[Curve], steps: Mapping[str, int]) -> list[dict[str, Any]]:
    """Each curve with its colour and symbol and the means of its points; `steps`: of training, by run.

    "over" has the points again of each quality that some images have no finite value of, over the others.

    A name has the same look on all data sets; colour and symbol together tell 70 names apart.
    """
    names = list(dict.fromkeys(curve.name for curve in made))
    keys = number_keys(media_of(made))
    gaps = {dataset: gaps_of([curve for curve in made if curve.dataset == dataset]) for dataset in datasets(made)}
    listed = []
    for curve in made:
        over = {g.metric: one for g in gaps[curve.dataset] for one in g.curves if one.name == curve.name}
        i = names.index(curve.name)
        listed.append(
            {
                "name": shortened(curve.name),
                "dataset": shortened(curve.dataset),
                "classic": curve.classic,
                "published": curve.published,
                "colour": PALETTE[i % len(PALETTE)],
                "symbol": _SYMBOLS[i % len(_SYMBOLS)],
                "points": [_point(point, steps, keys) for point in curve.points],
                "over": {key: [_point(point, steps, keys) for point in one.points] for key, one in over.items()},
            }
        )
    return listed


def gap_data(made: Sequence[Curve]) -> dict[str, dict[str, str]]:
    """{data set: {metric: which images its means are over}}, of the qualities that some images have no value of."""
    return {
        dataset: {gap.metric: gap.about for gap in gaps_of([c for c in made if c.dataset == dataset])}
        for dataset in datasets(made)
    }


def membership(made: Sequence[Curve], rows: Sequence[Row]) -> list[int]:
    """For each row the index of the curve that it is a part of, or -1: repeats of a classic codec count once."""
    owners: dict[tuple[str, ...], int] = {}
    for index, curve in enumerate(made):
        for point in curve.points:
            owners.setdefault((curve.dataset, curve.codec, _text(point, "run"), _text(point, "label")), index)
    return [owners.get(tuple(_text(row, key) for key in ("dataset", "codec", "run", "label")), -1) for row in rows]


def row_data(rows: Sequence[Row], owners: Sequence[int], media: Sequence[Medium]) -> dict[str, Any]:
    """The per-image table as columns."""
    texts = {key: text_column([row.get(key) for row in rows]) for key in ("dataset", "item", "codec", "run", "label")}
    numbers = {key: number_column(row.get(key) for row in rows) for key in number_keys(media)}
    return {"count": len(rows), "texts": texts, "numbers": numbers, "curve": code_column(owners)}


def config_data(runs: Sequence[Run]) -> dict[str, Any]:
    """Configurations by run: the keys whose values differ anywhere, and each run's values as codes.

    A value of -1 says that the run has no such key.
    """
    flat = {run.name: _flat(run.config) for run in runs if run.config}
    keys = list(dict.fromkeys(key for values in flat.values() for key in values))[:MAX_KEYS]
    differing = [key for key in keys if len({values.get(key) for values in flat.values()}) > 1]
    names: dict[str, int] = {}
    table = {
        shortened(run): [names.setdefault(values[key], len(names)) if key in values else -1 for key in differing]
        for run, values in flat.items()
    }
    return {"keys": [shortened(key) for key in differing], "values": list(names), "runs": table}


def _point(point: Row, steps: Mapping[str, int], keys: Sequence[str]) -> dict[str, Any]:
    numbers = {key: finite(point.get(key)) for key in keys}
    run = str(point.get("run") or "")
    named = {"label": shortened(point["label"]), "run": shortened(run), "images": point.get("images")}
    return numbers | named | {"step": steps.get(run)}


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Dotted keys and short values of a nested mapping. Lists are values: their items have no names."""
    if isinstance(value, Mapping) and value and path.count(".") < 12:
        found: dict[str, str] = {}
        for key, inner in value.items():
            if len(found) > MAX_KEYS:
                break
            found |= _flat(inner, f"{path}.{key}" if path else str(key))
        return found
    text = str(value)
    return {path: text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"}


def _text(row: Row, key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)
