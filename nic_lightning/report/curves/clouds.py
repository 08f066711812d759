"""Figures of codecs for classification as PNG files: accuracy over bits, and latency over the bitrate of a link."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.runs.record.files import write_atomically

Points = Sequence[tuple[float, float]]


def accuracy_figure(curves: Mapping[str, Points], optimum: Points, path: Path) -> Path:
    """Curves by name, (bits a cloud, accuracy) each, over bits in powers of ten; the optimum as a dashed line."""
    figure, axes = _axes()
    for name, points in curves.items():
        bits, accuracies = zip(*sorted(points), strict=True)
        classic = name.startswith(("Draco", "G-PCC", "TMC13", "OctAttention"))
        axes.plot(bits, accuracies, "--" if classic else "-", marker="." if classic else "o", label=name, linewidth=1.4)
    if optimum:
        axes.plot(*zip(*optimum, strict=True), ":", color="0.4", label="theoretical optimum")
    axes.set(xscale="log", xlabel="bits per cloud", ylabel="accuracy")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def latency_figure(
    rates: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    fastest: Sequence[tuple[str, float, float]],
    path: Path,
) -> Path:
    """Seconds of each strategy over the link's bits per second; behind them, shaded, which one is the fastest."""
    figure, axes = _axes()
    colours = {name: f"C{number}" for number, name in enumerate(lines)}
    for name, low, high in fastest:
        axes.axvspan(low, high, color=colours[name], alpha=0.12, linewidth=0)
    for name, seconds in lines.items():
        axes.plot(rates, 1000 * np.asarray(seconds), color=colours[name], label=name, linewidth=1.6)
    axes.set(xscale="log", yscale="log", xlabel="available bitrate [bit/s]", ylabel="latency of a decision [ms]")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def _axes() -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _save(figure: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
    return path
