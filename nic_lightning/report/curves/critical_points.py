"""Clouds with the points that a codec looks at, as a PNG file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.runs.record.critical_points import SETS
from nic_lightning.runs.record.files import write_atomically

LOOKS = {
    "points": ("0.75", 3),
    "critical": ("tab:orange", 18),
    "minimal": ("tab:red", 30),
    "reconstruction": ("tab:blue", 3),
}
"""Colour and size of a set's points."""


def cloud_figure(clouds: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw clouds (`runs.record.critical_points`) in a row, reconstructions in a second one where there are any."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ways = [("points", "critical", "minimal")]
    ways += [("reconstruction",)] if any(cloud["reconstruction"] for cloud in clouds) else []
    figure = Figure(figsize=(3.1 * len(clouds), 3.3 * len(ways)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, names in enumerate(ways):
        for column, cloud in enumerate(clouds):
            axes: Any = figure.add_subplot(len(ways), len(clouds), row * len(clouds) + column + 1, projection="3d")
            for name in names:
                points = np.array(cloud[name] or [[np.nan] * 3])
                colour, size = LOOKS[name]
                axes.scatter(*points.T, s=size, c=colour, label=SETS[name], depthshade=False, linewidths=0)
            axes.set_axis_off()
            axes.set_box_aspect((1, 1, 1))
            axes.set(xlim=(-0.6, 0.6), ylim=(-0.6, 0.6), zlim=(-0.6, 0.6))
            if not row:
                axes.set_title(f"{cloud['true']}, taken for {cloud['decided']}\n{cloud['bits']:.0f} bits", fontsize=9)
    shown = [axes.get_legend_handles_labels() for axes in (figure.axes[0], figure.axes[-1])]
    named = {label: handle for handles, labels in shown for handle, label in zip(handles, labels, strict=True)}
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
    return path
