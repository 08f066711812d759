"""Plotly figures of the dashboard, as plain data."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nic_lightning.media.base import all_media
from nic_lightning.report.curves.curve import IMAGE, Curve, over_the_same
from nic_lightning.report.page.plots import PALETTE
from nic_lightning.runs.index.growing_files import GrowingCurves

MAX_TRACES = 60
AXES = {"step": "step", "time": "hours since the first line"}
_GREY = "#8a919c"
_GRID = "rgba(128,136,148,0.22)"


def titles(runs: Iterable[GrowingCurves]) -> list[str]:
    """What can be drawn: the metrics without their operating points, the usual ones first."""
    known = {key.partition("@")[0] for curves in runs for key in curves.series}
    return sorted(known, key=_rank)


def curve_plot(runs: Mapping[str, GrowingCurves], title: str, axis: str = "step", log: bool = False) -> dict[str, Any]:
    """A metric of several runs over the steps or over time: a colour for each run, a shade for each operating point."""
    traces = []
    for number, (run, curves) in enumerate(runs.items()):
        keys = [key for key in curves.series if key.partition("@")[0] == title]
        for place, key in enumerate(keys):
            label = key.partition("@")[2]
            colour = PALETTE[(number if len(runs) > 1 else place) % len(PALETTE)]
            shade = 1.0 if len(runs) == 1 else 0.35 + 0.65 * (place + 1) / len(keys)
            steps, times, values = curves.series[key].points()
            x = steps if axis == "step" else [(time - times[0]) / 3600 for time in times]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(steps) < 20 else "lines",
                    "name": html.escape(" @ ".join(filter(None, (run, label)))),
                    "x": [_finite(v) for v in x],
                    "y": [_finite(value) for value in values],
                    "line": {"color": colour, "width": 1.8},
                    "opacity": round(shade, 3),
                    "hovertemplate": "%{y:.5g} at %{x}<extra>%{fullData.name}</extra>",
                }
            )
    figure = {"data": traces[:MAX_TRACES], "layout": layout(AXES[axis], html.escape(title))}
    figure["layout"] |= {"showlegend": len(traces) > 1, "uirevision": f"{title} {axis} {log}"}
    if log:
        figure["layout"]["yaxis"]["type"] = "log"
    return figure


def rd_plot(made: Sequence[Curve], metric: str) -> dict[str, Any]:
    """Rate against quality: solid lines for learned codecs, dashed ones for classic codecs."""
    traces = []
    medium = made[0].medium if made else IMAGE
    unit = medium.rate.unit
    colours = {curve.name: PALETTE[number % len(PALETTE)] for number, curve in enumerate(made)}
    for curve in over_the_same(made, metric):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": html.escape(curve.name),
                "x": [_finite(rate) for rate in curve.rates],
                "y": [_finite(point[metric]) for point in curve.points],
                "text": [html.escape(point["label"]) for point in curve.points],
                "hovertemplate": f"%{{text}}: %{{x:.4f}} {unit}, %{{y:.4g}}<extra>%{{fullData.name}}</extra>",
                "line": {"color": colours[curve.name], "width": 2.2, **({"dash": "dash"} if curve.classic else {})},
                "marker": {"size": 4 if curve.classic else 7},
            }
        )
    figure = {"data": traces, "layout": layout(medium.rate.axis, medium.quality(metric).axis)}
    figure["layout"] |= {"showlegend": len(traces) > 1, "uirevision": metric}
    for axis, declared in (("xaxis", medium.rate), ("yaxis", medium.quality(metric))):
        if declared.log_axis:
            figure["layout"][axis]["type"] = "log"
    rates = [rate for curve in made if not curve.classic for rate in curve.rates]
    if rates and not medium.rate.log_axis:  # a classic codec's best quality would squeeze them into a corner
        figure["layout"]["xaxis"]["range"] = [0, 1.25 * max(rates)]
    return figure


def layout(x: str, y: str) -> dict[str, Any]:
    """Axes, and no background of its own."""
    axis = {"gridcolor": _GRID, "zeroline": False, "automargin": True}
    return {
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": _GREY, "size": 12},
        "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": -0.22, "yanchor": "top", "font": {"size": 11}},
    }


def _rank(title: str) -> tuple[int, str]:
    stage, _, name = title.partition("/")
    short = f"{stage}/{name.rpartition('/')[2]}"
    first = _first()
    return (first.index(short) if short in first else len(first), title)


def _first() -> list[str]:
    """Metrics that are offered first; between `val` and the rest stands a data set."""
    media = all_media()
    training = ["train/loss", *(f"train/{medium.rate.key}" for medium in media), "train/mse", "val/loss"]
    default = [f"val/{medium.default}" for medium in media]
    return [*training, *default, *(f"val/{medium.rate.estimated}" for medium in media)]


def _finite(value: float | None) -> float | None:
    """JSON has no infinity, and a plot no place for it."""
    return value if value is not None and math.isfinite(value) else None
