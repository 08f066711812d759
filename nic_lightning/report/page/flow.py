"""Measured optical flow: tables for the terminal and the page, and pictures for the page. No torch needed."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nic_lightning.errors import RunError, counted
from nic_lightning.metrics.flow_errors import averages
from nic_lightning.metrics.names import FLOW_PICTURES, safe_name
from nic_lightning.report.curves.text import aligned
from nic_lightning.report.page.gallery import MAX_IMAGE, checked_png
from nic_lightning.report.page.markup import details, escaped, number, table, tabs
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.files import read_inside
from nic_lightning.runs.record.results import mean
from nic_lightning.runs.record.text import printable

Row = Mapping[str, Any]
NOTE = (
    "End-point errors in pixels: all, visible in the next frame (noc), not visible (occ); by true speed in pixels (s); "
    "by distance from occlusion boundaries (d). Fl: pixels off by more than 3 pixels and 5&nbsp;%. Sparse stages are "
    "measured where they have flow; density says how much that is. Averages over pixels, over images, or over pixels "
    "within each sequence and then over sequences alike, as in the thesis&rsquo; Table 5.2."
)
FINAL = "flow"
AVERAGES = {"pooled": "over pixels", "image": "over images", "sequence": "over sequences"}
MAX_ITEMS, MAX_TOTAL = 4, 24 * 2**20
"""Items of a data set with pictures, and bytes of all pictures, in a page."""
_COLUMNS = {
    "epe_all": "EPE all",
    "epe_noc": "noc",
    "epe_occ": "occ",
    "fl": "Fl %",
    "s0_10": "s0-10",
    "s10_40": "s10-40",
    "s40": "s40+",
    "d0_10": "d0-10",
    "d10_60": "d10-60",
    "d60_140": "d60-140",
}
_SHOWN = ("epe_all", "epe_noc", "epe_occ", "fl", "s0_10", "s10_40", "s40")
_TEXTS = frozenset({"run", "codec", "dataset", "item", "label", "scene"})
_MAX_SETS, _MAX_METHODS, _MAX_SCENES = 50, 200, 400
"""What is shown of a table from anybody: data sets, methods with their stages of each, sequences of each of these."""


def flow_rows(rows: Iterable[Row]) -> list[Row]:
    """Those rows of results tables that are of optical flow; what should be a number and is none becomes None."""
    found = (row for row in rows if isinstance(row.get("n_all"), int))
    return [{key: value if key in _TEXTS or _is_number(value) else None for key, value in row.items()} for row in found]


def flow_table(rows: Iterable[Row]) -> str:
    """Text: a block for each data set, a line for each method and stage, over pixels; EPE also over sequences."""
    blocks = []
    for dataset, methods in _by_dataset(flow_rows(rows)).items():
        lines = []
        for (name, stage), group in methods.items():
            cells = [_text(averages(group, key)["pooled"]) for key in _SHOWN]
            over = _text(averages(group, "epe_all")["sequence"])
            density, seconds = _text(overall_density(group), 1), _text(mean(row.get("time") for row in group), 2)
            lines.append([name, stage, *cells, over, density, seconds])
        counts = {len(group) for group in methods.values()}
        last = counted(max(counts), "image")
        title = f"{dataset} ({' or '.join([*map(str, sorted(counts)[:-1]), last])})"
        header = ["method", "stage", *(_COLUMNS[key] for key in _SHOWN), "sequences", "density %", "s"]
        blocks.append("\n".join(printable(line) for line in [title, *aligned(header, lines)]))
    return "\n\n".join(blocks)


def flow_section(runs: Sequence[Run], rows: Iterable[Row]) -> str:
    """The tables and pictures of all runs as HTML; empty where no run has any."""
    parts = []
    left = MAX_TOTAL
    for dataset, methods in _by_dataset(flow_rows(rows)).items():
        kinds = [(title, _means(methods, kind)) for kind, title in AVERAGES.items()]
        scenes = details("Every sequence, over pixels", _scenes(methods))
        times = details("Seconds", _times(methods))
        pictures, left = _pictures(runs, dataset, methods, left)
        body = tabs(f"flow-{safe_name(dataset)}", kinds) + scenes + times + pictures
        parts.append(f"<h3>{escaped(dataset)}</h3>{body}")
    return "".join(parts)


def _by_dataset(rows: Iterable[Row]) -> dict[str, dict[tuple[str, str], list[Row]]]:
    """Rows by data set, then by method (named with its run where several share a name) and stage."""
    listed = list(rows)
    runs: dict[str, set[str]] = {}
    for row in listed:
        runs.setdefault(str(row["codec"]), set()).add(str(row["run"]))
    found: dict[str, dict[tuple[str, str], list[Row]]] = {}
    for row in listed:
        name = str(row["codec"])
        name = name if len(runs[name]) == 1 else f"{name} ({row['run']})"
        stage, dataset = (name, str(row.get("label") or FINAL)), str(row["dataset"])
        if dataset in found or len(found) < _MAX_SETS:
            methods = found.setdefault(dataset, {})
            if stage in methods or len(methods) < _MAX_METHODS:
                methods.setdefault(stage, []).append(row)
    return found


def _means(methods: Mapping[tuple[str, str], Sequence[Row]], kind: str) -> str:
    lines = []
    for (name, stage), group in methods.items():
        values = [number(averages(group, key)[kind], 2 if key == "fl" else 3) for key in _COLUMNS]
        two = sum(row.get("frames") == 2 for row in group)
        lines.append(
            [escaped(name), escaped(stage), str(len(group)), str(two), *values, number(overall_density(group), 1)]
        )
    return table(["method", "stage", "images", "of two frames", *_COLUMNS.values(), "density %"], lines, text_columns=2)


def _scenes(methods: Mapping[tuple[str, str], Sequence[Row]]) -> str:
    """All, noc, occ and outliers of each sequence."""
    lines = []
    for (name, stage), group in methods.items():
        scenes: dict[str, list[Row]] = {}
        for row in group:
            scenes.setdefault(str(row.get("scene")), []).append(row)
        for scene, part in list(scenes.items())[:_MAX_SCENES]:
            values = [number(averages(part, key)["pooled"], 3) for key in ("epe_all", "epe_noc", "epe_occ", "fl")]
            lines.append([escaped(scene), escaped(name), escaped(stage), str(len(part)), *values])
    lines.sort(key=lambda line: line[0])
    return table(["sequence", "method", "stage", "images", "EPE all", "noc", "occ", "Fl %"], lines, text_columns=3)


def _times(methods: Mapping[tuple[str, str], Sequence[Row]]) -> str:
    """Mean wall time of an image, and of its parts where a method reports them."""
    final = {name: group for (name, stage), group in methods.items() if stage == FINAL}
    keys = sorted({key for group in final.values() for key in group[0] if key.startswith("time_")})
    used = ["time", *(key for key in keys if any(mean(row.get(key) for row in group) for group in final.values()))]
    lines = [
        [escaped(name), *(number(mean(row.get(key) for row in group), 2) for key in used)]
        for name, group in final.items()
    ]
    header = ["method", *(escaped(key.removeprefix("time_").replace("_", " ")) for key in used)]
    return table(header, lines)


def overall_density(rows: Iterable[Row], column: str = "density") -> float | None:
    """Per cent of the pixels with true flow that were estimated, over all pixels; or of a region's, "density_occ"."""
    region = column.partition("_")[2] or "all"
    pairs = [(row[f"n_{region}"], row[column]) for row in rows if row.get(f"n_{region}") and row.get(column)]
    known = sum(100 * count / density for count, density in pairs)
    return 100 * sum(count for count, _ in pairs) / known if known else None


def _pictures(
    runs: Sequence[Run], dataset: str, methods: Mapping[tuple[str, str], Sequence[Row]], left: int
) -> tuple[str, int]:
    """Of the first items: the frame, the true flow, and each method's flow and errors; and the bytes still free."""
    by_name = {run.name: run for run in runs}
    items = list(dict.fromkeys(str(row["item"]) for group in methods.values() for row in group))
    parts: list[str] = []
    for item in items:
        cells: list[str] = []
        for (name, stage), group in methods.items():
            run = next((by_name.get(str(row["run"])) for row in group if str(row["item"]) == item), None)
            if run is None or not (run.folder / FLOW_PICTURES / safe_name(dataset) / safe_name(item)).is_dir():
                continue
            wanted = [(stage, f"{name}: {stage}"), (f"errors_{stage}", f"{name}: errors of {stage}")]
            wanted = wanted if cells else [("frame", "frame"), ("truth", "true flow, occluded parts darker"), *wanted]
            for key, title in wanted:
                picture, left = _picture(run, dataset, item, key, left)
                cells.append(f"<figure>{picture}<figcaption>{escaped(title)}</figcaption></figure>" if picture else "")
        if any(cells):
            parts.append(details(escaped(item), f'<div class="flow">{"".join(cells)}</div>', not parts))
        if len(parts) == MAX_ITEMS:
            break
    return "".join(parts), left


def _picture(run: Run, dataset: str, item: str, key: str, left: int) -> tuple[str, int]:
    """An image as HTML, and the bytes still free; nothing for one that is missing, damaged or too much."""
    name = str(FLOW_PICTURES / safe_name(dataset) / safe_name(item) / f"{safe_name(key)}.png")
    try:
        data = read_inside(run.folder, name, MAX_IMAGE)
        checked_png(data)
    except (RunError, OSError, ValueError, SyntaxError) as error:
        run.add_problem(f"the picture {key} of {item} is not shown: {error}")
        return "", left
    if len(data) > left:
        return "", left
    return f'<img src="data:image/png;base64,{base64.b64encode(data).decode()}" alt="">', left - len(data)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
