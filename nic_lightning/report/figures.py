"""Rate-distortion plots as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.report.curves import METRICS, Curve, datasets, shown_range
from nic_lightning.runs.files import write_atomically


def rd_figure(made: Sequence[Curve], metric: str, path: Path, dataset: str | None = None) -> Path | None:
    """Draw bits per pixel against a metric; learned codecs as solid lines, classic ones dashed.

    Args:
        made: curves, of which those of one data set are drawn.
        metric: "psnr", "ms_ssim_db" or "lpips".
        path: PNG to write.
        dataset: name of the data set; None: the first curve's.

    Returns:
        The path, or None when no curve has the metric (then nothing is written).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if metric not in METRICS:
        raise UserError(f"There is no plot over {metric!r}; choose one of {', '.join(METRICS)}.")
    chosen = dataset if dataset is not None else next(iter(datasets(made)), None)
    drawn = [curve for curve in made if curve.dataset == chosen and curve.has(metric)]
    if not drawn:
        return None
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for curve in drawn:
        rates = [point["bpp"] for point in curve.points]
        values = [point[metric] for point in curve.points]
        style, marker = ("--", ".") if curve.classic else ("-", "o")
        axes.plot(rates, values, style, marker=marker, markersize=5, label=_shown(curve.name))
    if window := shown_range(drawn, metric):
        axes.set(xlim=window[0], ylim=window[1])
    axes.set_xlabel("rate [bits per pixel]")
    axes.set_ylabel(METRICS[metric])
    title = axes.set_title(str(chosen))
    axes.grid(alpha=0.3)
    legend = axes.legend(frameon=False, fontsize=9)
    for text in (title, *legend.get_texts()):
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
    return path


def _shown(name: str) -> str:
    """A name that matplotlib does not leave out of the legend, as it does with a leading "_"."""
    return " " + name if name.startswith("_") else name
