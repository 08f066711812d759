"""Motion fields and compensated tensors as PNG files, from what `analysis/latent_motion/pictures.py` makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.flow.colour import to_colours
from nic_lightning.report.curves.latent_motion import new_figure, save_figure

ARROWS = 13
"""Arrows along a side, at most."""


def field_figure(found: Any, truth: Any, path: Path) -> Path:
    """Estimated motion as arrows and, below, in colours (Figure 2): of the frame, of the layer, of single channels.

    Args:
        found: `pictures.Fields`.
        truth: true flow (H, W, 2), NaN where unknown; None: not known.
        path: PNG to write.
    """
    columns = [("frame", found.in_frame), (f"{found.layer}, all channels", found.in_layer)]
    columns += [(f"channel {number}", field) for number, field in found.in_channels]
    if truth is not None:
        columns.insert(0, ("true motion", truth))
    largest = max(_speed(field) for _, field in columns[:3])
    figure, _ = new_figure(2.3 * len(columns), 4.9)
    grid = figure.subplots(2, len(columns), squeeze=False)
    for (title, field), above, below in zip(columns, *grid, strict=True):
        above.imshow(found.frame, extent=(0, 1, 1, 0), alpha=0.45)
        _arrows(above, field, largest)
        below.imshow(to_colours(field, largest), extent=(0, 1, 1, 0))
        above.set_title(title, fontsize=8).set_parse_math(False)
        for axes in (above, below):
            axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0), aspect=found.frame.shape[0] / found.frame.shape[1])
    return save_figure(figure, path)


def panel_figure(panels: Sequence[Any], layer: str, path: Path) -> Path:
    """For each motion the moved frame, channels of its tensor, their prediction, and the difference (Figure 4).

    Values are in standard deviations of the channel, drawn as signed square roots from -1.6 to 1.6; differences are the
    same from 0 to 1.6; grey: not predicted.
    """
    channels = len(panels[0].actual)
    titles = ["frame", *[f"{layer}: {kind}" for kind in ("actual", "predicted", "difference")]]
    figure, _ = new_figure(2.0 * (1 + 3 * channels), 2.1 * len(panels))
    grid = figure.subplots(len(panels), 1 + 3 * channels, squeeze=False)
    for row, panel in zip(grid, panels, strict=True):
        row[0].imshow(panel.frame)
        row[0].set_ylabel(panel.name, fontsize=9)
        for channel in range(channels):
            hidden = np.where(panel.valid, 1, np.nan)
            actual, predicted = panel.actual[channel], panel.predicted[channel] * hidden
            _map(row[1 + channel], _root(actual), -1.6, "viridis")
            _map(row[1 + channels + channel], _root(predicted), -1.6, "viridis")
            _map(row[1 + 2 * channels + channel], _root(np.abs(actual - predicted)), 0, "magma")
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for place, title in zip((0, 1, 1 + channels, 1 + 2 * channels), titles, strict=True):
        grid[0, place].set_title(title, fontsize=9, loc="left").set_parse_math(False)
    return save_figure(figure, path)


def _map(axes: Any, values: Any, low: float, colours: str) -> None:
    axes.set_facecolor("0.8")
    axes.imshow(values, vmin=low, vmax=1.6, cmap=colours, interpolation="nearest")


def _root(values: Any) -> Any:
    return np.sign(values) * np.sqrt(np.abs(values))


def _speed(field: Any) -> float:
    speed = np.linalg.norm(field, axis=-1)
    return max(float(np.nanquantile(speed, 0.99)) if np.isfinite(speed).any() else 0.0, 1.0)


def _arrows(axes: Any, field: Any, largest: float) -> None:
    height, width = field.shape[:2]
    rows, columns = (np.unique(np.linspace(0, n - 1, min(n, ARROWS)).round().astype(int)) for n in (height, width))
    shown = 1.3 * field[rows[:, None], columns] / largest / len(columns)
    x, y = (columns + 0.5) / width, (rows + 0.5) / height
    axes.quiver(
        x,
        y,
        shown[..., 0],
        shown[..., 1],
        angles="xy",
        scale_units="xy",
        scale=1,
        color="navy",
        width=0.005,
        headwidth=4,
    )
