"""Plotly figures of the report, as plain data: {"data": [traces], "layout": {...}}.

Colours of text and grid are the page's, which knows whether the reader likes it dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.report.curves import METRICS, Curve, shown_range

PALETTE = (
    *("#2f6fde", "#e0762b", "#1f9d6b", "#c0392b", "#8a5cd6"),
    *("#00899b", "#d1478f", "#8d6e4f", "#7f9a1d", "#5c6f82"),
)
"""Told apart on a light and on a dark page."""
MAX_POINTS = 600
"""Of a training curve; a longer one is thinned out."""
MAX_TRACES = 24
MAX_PLOTS = 8
_FIRST = ("loss", "bpp", "psnr", "ms_ssim_db", "ms_ssim", "mse", "lr")


def colours(made: Sequence[Curve]) -> dict[str, str]:
    """A colour for each curve name, the same in every plot."""
    names = list(dict.fromkeys(curve.name for curve in made))
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def rd_plot(made: Sequence[Curve], metric: str, colour: Mapping[str, str]) -> dict[str, Any]:
    """Bits per pixel against a metric, a trace for each curve that has it."""
    traces = []
    for curve in made:
        if not curve.has(metric):
            continue
        style = {"color": colour[curve.name], "width": 1.6 if curve.classic else 2.4}
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": html.escape(curve.name),
                "x": [point["bpp"] for point in curve.points],
                "y": [_finite(point[metric]) for point in curve.points],
                "text": [_hover(curve, point) for point in curve.points],
                "hovertemplate": "%{text}<extra></extra>",
                "line": style | ({"dash": "dash"} if curve.classic else {}),
                "marker": {"size": 4 if curve.classic else 8, "color": colour[curve.name]},
            }
        )
    layout = axes_layout("rate [bits per pixel]", METRICS[metric])
    if window := shown_range(made, metric):
        layout["xaxis"]["range"], layout["yaxis"]["range"] = map(list, window)
    return {"data": traces, "layout": layout}


def training_plots(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Pairs (title, figure) of what runs logged: a plot for each metric, a trace for each run and label.

    Keys are `<stage>/<data set>/<metric>[@label]`; losses, rates and fidelities come first. A lambda schedule has plots
    of its own (`report/schedule.py`).
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
    for i, (name, (steps, values)) in enumerate(list(series.items())[:MAX_TRACES]):
        stride = -(-len(steps) // MAX_POINTS)
        kept = range((len(steps) - 1) % stride, len(steps), stride)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(steps) < 20 else "lines",
                "name": html.escape(name),
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
    """Known metrics first, in the order of `_FIRST`; then by name."""
    last = title.rpartition("/")[2]
    return (_FIRST.index(last) if last in _FIRST else len(_FIRST), title)


def _hover(curve: Curve, point: Mapping[str, Any]) -> str:
    lines = [f"<b>{html.escape(curve.name)}</b>  {html.escape(point['label'])}", f"{point['bpp']:.4f} bpp"]
    if point["bpp_estimated"] is not None:
        lines[-1] += f" ({point['bpp_estimated']:.4f} estimated)"
    formats = {"psnr": "PSNR {:.2f} dB", "ms_ssim_db": "MS-SSIM {:.2f} dB", "lpips": "LPIPS {:.4f}"}
    lines += [text.format(point[key]) for key, text in formats.items() if point[key] is not None]
    return "<br>".join(lines)


def axes_layout(x: str, y: str) -> dict[str, Any]:
    """Layout with titles of both axes, no legend."""
    return {
        "xaxis": {"title": {"text": x, "standoff": 8}, "zeroline": False},
        "yaxis": {"title": {"text": y, "standoff": 8}, "zeroline": False},
        "margin": {"l": 58, "r": 12, "t": 30, "b": 46},
        "showlegend": False,
        "hovermode": "closest",
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity, and a plot no place for it."""
    return value if math.isfinite(value) else None
