"""What the page's scripts draw from: curves, rows and configurations as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.metrics.bd import LOWER_IS_BETTER
from nic_lightning.report.curves.curve import METRICS, Curve, gaps_of
from nic_lightning.report.curves.curves import datasets
from nic_lightning.report.page.columns import code_column, finite, number_column, shortened, text_column
from nic_lightning.report.page.plots import PALETTE
from nic_lightning.runs.index.index import Run

Row = Mapping[str, Any]
MAX_ROWS = 250_000
"""Rows of the per-image table; more make no page that a browser opens at once."""
MAX_CURVES = 400
MAX_KEYS, MAX_VALUE = 2000, 160
NUMBERS = ("bpp", "bpp_estimated", "psnr", "ms_ssim_db", "lpips", "encode_ms", "decode_ms")
"""Numeric columns of the per-image table."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star")


def metric_data(made: Sequence[Curve]) -> list[dict[str, Any]]:
    """The qualities that some curve has: key, axis title, name, unit, digits, and whether less is better."""
    found = []
    for key, title in METRICS.items():
        if any(curve.has(key) for curve in made):
            name, unit = (title.split(" [")[0], " dB") if "[dB]" in title else (title, "")
            shown = {"key": key, "title": title, "name": name, "unit": unit, "digits": 2 if unit else 4}
            found.append(shown | {"lower": key in LOWER_IS_BETTER})
    return found


def curve_data(made: Sequence[Curve], steps: Mapping[str, int]) -> list[dict[str, Any]]:
    """Each curve with its colour and symbol and the means of its points; `steps`: of training, by run.

    "over" has the points again of each quality that some images have no finite value of, over the others.

    A name has the same look on all data sets; colour and symbol together tell 70 names apart.
    """
    names = list(dict.fromkeys(curve.name for curve in made))
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
                "points": [_point(point, steps) for point in curve.points],
                "over": {key: [_point(point, steps) for point in one.points] for key, one in over.items()},
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


def row_data(rows: Sequence[Row], owners: Sequence[int]) -> dict[str, Any]:
    """The per-image table as columns."""
    texts = {key: text_column([row.get(key) for row in rows]) for key in ("dataset", "item", "codec", "run", "label")}
    numbers = {key: number_column(row.get(key) for row in rows) for key in NUMBERS}
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


def _point(point: Row, steps: Mapping[str, int]) -> dict[str, Any]:
    numbers = {key: finite(point.get(key)) for key in NUMBERS}
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
