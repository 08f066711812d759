"""What `nic critical_points` found in runs, on the page: a table, and clouds that can be turned."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.report.page.columns import shortened
from nic_lightning.report.page.markup import escaped, table
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.critical_points import FOLDER, SETS, SHOWN, TABLE, read_shown
from nic_lightning.runs.record.files import read_inside

NOTE = (
    "Points that have the largest value of some channel are critical: without the others the string is the same. The "
    "minimal ones are those of them that none can be left out of. A drag turns a cloud."
)
MAX_BYTES, MAX_RUNS = 2 * 2**20, 8
"""Of a table; and runs whose clouds are drawn."""
_LOOKS = {
    "points": {"size": 2, "color": "#9aa3ad", "opacity": 0.7},
    "critical": {"size": 5, "color": "#f08a24"},
    "minimal": {"size": 7, "color": "#d62728"},
    "reconstruction": {"size": 2.5, "color": "#1f77b4"},
}
_NUMBERS = ("bits", "points", "critical", "minimal")


def critical_table(runs: Sequence[Run]) -> str:
    """Means of each run; empty where none was measured."""
    lines = []
    for run in _measured(runs):
        try:
            text = read_inside(run.folder, f"{FOLDER}/{TABLE}", MAX_BYTES).decode()
            rows = list(csv.DictReader(io.StringIO(text)))
            means = [fmean(float(row[key]) for row in rows) for key in _NUMBERS]
        except (RunError, ValueError, KeyError, TypeError, csv.Error) as error:
            run.add_problem(f"its critical points are not shown: {error}")
            continue
        sets = ", ".join(dict.fromkeys(shortened(row.get("dataset") or "") for row in rows))
        lines.append([escaped(run.name), escaped(sets), f"{len(rows):,}", *(f"{mean:.1f}" for mean in means)])
    return table(["run", "data set", "clouds", *_NUMBERS], lines, text_columns=2) if lines else ""


def critical_plots(runs: Sequence[Run]) -> list[tuple[str, dict[str, Any]]]:
    """Pairs (title, plotly figure) of clouds that are shown."""
    made = []
    for run in _measured(runs)[:MAX_RUNS]:
        try:
            clouds = read_shown(run.folder)
        except RunError as error:
            run.add_problem(f"its clouds are not shown: {error}")
            continue
        for cloud in clouds:
            title = f"{run.name}: {cloud['true']}, taken for {cloud['decided']}, {cloud['bits']:.0f} bits"
            made.append((title, _figure(cloud)))
    return made


def _measured(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if (run.folder / FOLDER / SHOWN).exists() or (run.folder / FOLDER / TABLE).exists()]


def _figure(cloud: Mapping[str, Any]) -> dict[str, Any]:
    traces = []
    for name, called in SETS.items():
        if not cloud[name]:
            continue
        x, y, z = zip(*cloud[name], strict=True)
        hidden = {"visible": "legendonly"} if name == "reconstruction" else {}
        traces.append(
            {"type": "scatter3d", "mode": "markers", "name": f"{called} ({len(x)})", "x": x, "y": y, "z": z,
             "marker": _LOOKS[name], "hoverinfo": "name", **hidden}
        )  # fmt: skip
    axis = {"visible": False, "range": [-1, 1]}
    scene = {
        "xaxis": axis,
        "yaxis": axis,
        "zaxis": axis,
        "aspectmode": "cube",
        "camera": {"eye": {"x": 0.9, "y": 0.9, "z": 0.6}},
    }
    legend = {"orientation": "h", "y": -0.02, "itemsizing": "constant"}
    return {"data": traces, "layout": {"scene": scene, "legend": legend, "margin": {"l": 0, "r": 0, "t": 0, "b": 0}}}
