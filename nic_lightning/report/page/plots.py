"""Plotly figures of the report, as plain data: {"data": [traces], "layout": {...}}.

Colours of text and grid are the page's, which knows whether the reader likes it dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.media.base import all_media

PALETTE = (
    *("#2f6fde", "#e0762b", "#1f9d6b", "#c0392b", "#8a5cd6"),
    *("#00899b", "#d1478f", "#8d6e4f", "#7f9a1d", "#5c6f82"),
)
"""Told apart on a light and on a dark page."""
MAX_POINTS = 600
"""Of a training curve; a longer one is thinned out."""
MAX_TRACES = 400
SHOWN_TRACES = 24
"""Traces that a plot opens with; the page's filter shows others."""
MAX_VALUES = 60_000
"""Points of all traces of a plot."""
MAX_PLOTS = 8
_LAST = ("mse", "epe", "epe_triple", "wins", "lr")


def training_plots(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Pairs (title, figure) of what runs logged: a plot for each metric, a trace for each run and label.

    Keys are `<stage>/<data set>/<metric>[@label]`; losses, rates and fidelities come first. A lambda schedule has plots
    of its own (`report/page/schedule.py`).
    """
    series: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    one_sweep = len({path.rpartition("/")[0] for path in logs}) == 1
    for path, lines in logs.items():
        run = path.rpartition("/")[2] if one_sweep else path
        for line in lines:
            for key, value in line.items():
                if key in ("step", "epoch", "time") or key.startswith("schedule/") or not math.isfinite(value):
                    continue
                title, _, label = key.partition("@")
                name = " @ ".join(part for part in (run, label) if part)
                steps, values = series.setdefault(title, {}).setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    lines = [title for title, traces in series.items() if any(len(steps) > 1 for steps, _ in traces.values())]
    return [(title, _training_plot(title, series[title])) for title in sorted(lines, key=_rank)[:MAX_PLOTS]]


def _training_plot(title: str, series: Mapping[str, tuple[list[int], list[float]]]) -> dict[str, Any]:
    traces = []
    limit = min(MAX_POINTS, MAX_VALUES // min(len(series), MAX_TRACES))
    for i, (name, (steps, values)) in enumerate(list(series.items())[:MAX_TRACES]):
        stride = -(-len(steps) // limit)
        kept = range((len(steps) - 1) % stride, len(steps), stride)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(steps) < 20 else "lines",
                "name": html.escape(name[:200], quote=False),  # Plotly knows no &quot;
                "visible": i < SHOWN_TRACES,
                "x": [steps[k] for k in kept],
                "y": [values[k] for k in kept],
                "line": {"color": PALETTE[i % len(PALETTE)], "width": 1.8},
                "hovertemplate": "step %{x}: %{y:.5g}<extra>%{fullData.name}</extra>",
            }
        )
    layout = axes_layout("step", "")
    positive = all(value > 0 for _, values in series.values() for value in values)
    if positive and title.rpartition("/")[2] in ("loss", "lr", "mse"):
        layout["yaxis"]["type"] = "log"
    layout["showlegend"] = len(traces) > 1
    layout["legend"] = {"orientation": "h", "y": -0.2, "yanchor": "top", "font": {"size": 11}}
    layout["xaxis"]["title"] = {"text": ""}
    return {"data": traces, "layout": layout}


def _rank(title: str) -> tuple[int, str]:
    """Known metrics first, rates and qualities of all media before `_LAST`; then by name."""
    last = title.rpartition("/")[2]
    media = all_media()
    rates = dict.fromkeys(medium.rate.key for medium in media)
    first = ("loss", *rates, *dict.fromkeys(key for medium in media for key in medium.compared), *_LAST)
    return (first.index(last) if last in first else len(first), title)


def axes_layout(x: str, y: str) -> dict[str, Any]:
    """Layout with titles of both axes, no legend."""
    return {
        "xaxis": {"title": {"text": x, "standoff": 8}, "zeroline": False},
        "yaxis": {"title": {"text": y, "standoff": 8}, "zeroline": False},
        "margin": {"l": 58, "r": 12, "t": 30, "b": 46},
        "showlegend": False,
        "hovermode": "closest",
    }
