"""Lambda-scheduling as figures: the R-D curve that stretches, and every width's lambda (thesis figures 3.5 and 3.9)."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_lightning.report.page.plots import PALETTE, axes_layout
from nic_lightning.runs.record.files import write_atomically

_LAMBDA = "schedule/lambda@"
_DARK, _LIGHT = (20, 40, 90), (120, 190, 255)
MAX_CURVES = 40


@dataclass(frozen=True)
class Observation:
    """What the schedule saw at one step, by operating point: validation rate and PSNR, and the lambda from there on."""

    step: int
    lambdas: dict[str, float]
    points: dict[str, tuple[float, float]]
    """Bits per pixel (estimated) and PSNR in dB."""


def observations(lines: Iterable[Mapping[str, Any]]) -> list[Observation]:
    """The schedule's rows among the lines of a metrics.jsonl; lines that are incomplete are left out."""
    found = []
    for line in lines:
        lambdas = {k.removeprefix(_LAMBDA): v for k, v in line.items() if k.startswith(_LAMBDA)}
        measured: dict[str, dict[str, float]] = {}
        for key, value in line.items():
            name, _, label = key.partition("@")
            if name.startswith("schedule/") and label in lambdas and key != _LAMBDA + label:
                measured.setdefault(label, {})[name.rpartition("/")[2]] = value
        points = {
            k: (v["bpp_estimated"], v["psnr"]) for k, v in measured.items() if {"bpp_estimated", "psnr"} <= v.keys()
        }
        values = [*lambdas.values(), *(number for point in points.values() for number in point)]
        if lambdas and points.keys() == lambdas.keys() and all(math.isfinite(value) for value in values):
            found.append(Observation(int(line["step"]), lambdas, points))
    return found


def schedule_plots(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Pairs (title, plotly figure) for every run that was scheduled."""
    made = []
    for run, lines in logs.items():
        seen = observations(lines)
        if seen:
            made += [(f"{run}: rate and PSNR at every update", _stretch(seen)), (f"{run}: lambda", _trace(seen))]
    return made


def schedule_figure(lines: Iterable[Mapping[str, Any]], path: Path) -> Path | None:
    """Draw both plots as a PNG file; None, and no file, when the run was not scheduled."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seen = observations(lines)
    if not seen:
        return None
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for i, one in enumerate(thinned(seen)):
        shade = tuple(value / 255 for value in _shade(one, seen))
        ends = {0: "naive", len(thinned(seen)) - 1: "final"}
        left.plot(*zip(*one.points.values(), strict=True), "o-", markersize=4, color=shade, label=ends.get(i))
    left.set_xlabel("rate [bits per pixel, estimated]")
    left.set_ylabel("PSNR [dB]")
    for i, label in enumerate(seen[0].lambdas):
        steps, values = [one.step for one in seen], [one.lambdas[label] for one in seen]
        right.step(steps, values, where="post", label=label, color=PALETTE[i % len(PALETTE)])
    right.set_yscale("log")
    right.set_xlabel("step")
    right.set_ylabel("lambda")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
    return path


def thinned(seen: Sequence[Observation]) -> list[Observation]:
    """At most MAX_CURVES observations, the first and the last among them."""
    stride = -(-(len(seen) - 1) // (MAX_CURVES - 1)) or 1
    return [*seen[:-1:stride], seen[-1]] if len(seen) > 1 else list(seen)


def _shade(one: Observation, seen: Sequence[Observation]) -> tuple[int, ...]:
    """From light to dark as training goes on."""
    span = seen[-1].step - seen[0].step or 1
    t = (one.step - seen[0].step) / span
    return tuple(round(light + t * (dark - light)) for light, dark in zip(_LIGHT, _DARK, strict=True))


def _stretch(seen: Sequence[Observation]) -> dict[str, Any]:
    traces = []
    for one in thinned(seen):
        colour = "rgb({}, {}, {})".format(*_shade(one, seen))
        rates, psnrs = zip(*one.points.values(), strict=True)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"step {one.step}",
                "x": list(rates),
                "y": list(psnrs),
                "text": [html.escape(label) for label in one.points],
                "hovertemplate": "%{text}: %{x:.4f} bpp, %{y:.2f} dB<extra>%{fullData.name}</extra>",
                "line": {"color": colour, "width": 1.6},
                "marker": {"size": 5, "color": colour},
            }
        )
    return {"data": traces, "layout": axes_layout("rate [bits per pixel, estimated]", "PSNR [dB]")}


def _trace(seen: Sequence[Observation]) -> dict[str, Any]:
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": html.escape(label),
            "x": [one.step for one in seen],
            "y": [one.lambdas[label] for one in seen],
            "line": {"color": PALETTE[i % len(PALETTE)], "width": 1.8, "shape": "hv"},
            "hovertemplate": "step %{x}: %{y:.5g}<extra>%{fullData.name}</extra>",
        }
        for i, label in enumerate(seen[0].lambdas)
    ]
    layout = axes_layout("step", "lambda")
    layout["yaxis"]["type"] = "log"
    layout["showlegend"] = True
    return {"data": traces, "layout": layout}
