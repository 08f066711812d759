"""Rate-distortion plots as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.report.curves.curve import IMAGE, Curve, over_the_same
from nic_lightning.report.curves.curves import datasets, shown_range
from nic_lightning.runs.record.files import write_atomically

MANY = 8
"""More curves than that have their legend beside the plot."""


def rd_figure(made: Sequence[Curve], metric: str, path: Path, dataset: str | None = None) -> Path | None:
    """Draw the rate against a metric; learned codecs as solid lines, classic ones dashed, published ones dotted.

    All are over the images that every curve has a finite value on. A published curve has the colour of the measured one
    of the same codec.

    Args:
        made: curves, of which those of one data set are drawn.
        metric: a quality that the curves' medium draws: of images "psnr", "ms_ssim_db" or "lpips".
        path: PNG to write.
        dataset: name of the data set; None: the first curve's.

    Returns:
        The path, or None when no curve has the metric (then nothing is written).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = dataset if dataset is not None else next(iter(datasets(made)), None)
    here = [curve for curve in made if curve.dataset == chosen]
    medium = here[0].medium if here else IMAGE
    if metric not in medium.drawn:
        raise UserError(f"There is no plot over {metric!r}; choose one of {', '.join(medium.drawn)}.")
    drawn = over_the_same(here, metric)
    if not drawn:
        return None
    beside = len(drawn) > MANY
    figure = Figure(figsize=(8.6 if beside else 6.4, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for curve, colour in zip(drawn, _colours(drawn), strict=True):
        values = [point[metric] for point in curve.points]
        style, marker = (":", "x") if curve.published else ("--", ".") if curve.classic else ("-", "o")
        axes.plot(curve.rates, values, style, marker=marker, markersize=5, color=colour, label=_shown(curve.name))
    if window := shown_range(drawn, metric):
        axes.set(xlim=window[0], ylim=window[1])
    if medium.rate.log_axis:
        axes.set_xscale("log")
    if medium.quality(metric).log_axis:
        axes.set_yscale("log")
    axes.set_xlabel(medium.rate.axis)
    axes.set_ylabel(medium.quality(metric).axis)
    title = axes.set_title(str(chosen))
    axes.grid(alpha=0.3)
    options: Any = {"frameon": False, "fontsize": 9}
    legend = figure.legend(loc="outside right upper", **options) if beside else axes.legend(**options)
    for text in (title, *legend.get_texts()):
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    write_atomically(path, buffer.getvalue())
    return path


def _colours(drawn: Sequence[Curve]) -> list[tuple[float, float, float]]:
    """Ten colours, then their light shades; published curves have those of their codec's first measured one."""
    from matplotlib import colormaps

    palette = [*colormaps["tab10"].colors, *colormaps["tab20"].colors[1::2]]  # pyright: ignore[reportAttributeAccessIssue]
    chosen: dict[int, int] = {}
    of_codec: dict[str, int] = {}
    for i, curve in sorted(enumerate(drawn), key=lambda pair: pair[1].published):
        known = of_codec.get(curve.codec) if curve.published else None
        chosen[i] = len(set(chosen.values())) if known is None else known
        of_codec.setdefault(curve.codec, chosen[i])
    return [palette[chosen[i] % len(palette)] for i in range(len(drawn))]


def _shown(name: str) -> str:
    """A name that matplotlib does not leave out of the legend, as it does with a leading "_"."""
    return " " + name if name.startswith("_") else name
