"""Figures of latent motion as PNG files, from the table that `nic-analyze` writes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.report.curves.text import aligned
from nic_lightning.runs.record.files import write_atomically
from nic_lightning.runs.record.latent_motion import Table, names, select
from nic_lightning.runs.record.text import printable

HEVC = (0.009, 0.044)
"""NRMSE of frames predicted by HEVC's motion compensation, 41 to 27 dB: the yardstick of the paper."""
FRAME = "frame"
TITLES = {
    "translate": "translation [pixels]",
    "rotate": "rotation [degrees]",
    "scale": "scaling along x",
    "shear": "shear along x [degrees]",
}
_WINDOW, _ORDER = 0.075, 3


def curve_figure(table: Table, path: Path) -> Path | None:
    """NRMSE over each sweep (Figure 5): means over images, raw and, bold, smoothed; bands: one deviation of images.

    Smoothed means by Savitzky and Golay, third order, over 7.5 % of the values; at shifts by whole strides of a layer
    the raw value stands, as in the paper. Dotted: the smallest stride of the layers and its multiples.
    """
    swept = select(table, study="curves")
    sweeps = [name for name in TITLES if name in set(swept["motion"])]
    if not sweeps:
        return None
    figure, _ = new_figure(5.2 * min(2, len(sweeps)), 3.6 * -(-len(sweeps) // 2))
    grid = figure.subplots(-(-len(sweeps) // 2), min(2, len(sweeps)), squeeze=False)
    for axes in grid.flat[len(sweeps) :]:
        axes.set_axis_off()
    layers = [layer for layer in names(swept["layer"]) if layer != FRAME]
    for axes, sweep in zip(grid.flat, sweeps, strict=False):
        for i, layer in enumerate(layers):
            rows = select(swept, motion=sweep, layer=layer)
            values, mean, deviation = means(rows)
            exact = np.zeros(len(values), bool)
            if sweep == "translate":
                exact = np.isclose(values / rows["stride"][0], np.round(values / rows["stride"][0]))
            colour = f"C{i}"
            axes.plot(values, mean, color=colour, linewidth=0.7, alpha=0.5)
            axes.plot(values, smoothed(mean, exact), color=colour, linewidth=1.6, label=_label(layer))
            axes.fill_between(values, mean - deviation, mean + deviation, color=colour, alpha=0.08, linewidth=0)
        if sweep == "translate":
            stride = max(8.0, min(float(swept["stride"][swept["layer"] == layer][0]) for layer in layers))
            for whole in np.arange(np.ceil(values[0] / stride), np.floor(values[-1] / stride) + 1) * stride:  # pyright: ignore
                axes.axvline(whole, color="0.7", linewidth=0.7, linestyle=":")
        axes.set(xlabel=TITLES[sweep], ylabel="NRMSE")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
    _plain_legend(grid.flat[0])
    return save_figure(figure, path)


def histogram_figure(table: Table, path: Path) -> Path | None:
    """Histograms of NRMSE over random affine motions (Figure 6), with kernel density estimates; grey: HEVC's range."""
    drawn = select(table, study="histogram")
    layers = [layer for layer in names(drawn["layer"]) if layer != FRAME]
    if not layers:
        return None
    figure, axes = new_figure(6.4, 4.0, make=True)
    axes.axvspan(*HEVC, color="0.9", label="frames, HEVC")
    for i, layer in enumerate(layers):
        errors = drawn["nrmse"][drawn["layer"] == layer]
        errors = errors[np.isfinite(errors)]
        axes.hist(errors, bins=64, density=True, color=f"C{i}", alpha=0.25)
        at = np.linspace(0, errors.max(initial=0.05) * 1.1, 300)
        axes.plot(at, density(errors, at), color=f"C{i}", label=_label(f"{layer}, mean {errors.mean():.3f}"))
    axes.set(xlabel="NRMSE", ylabel="density")
    axes.set_xlim(left=0)
    _plain_legend(axes)
    return save_figure(figure, path)


def layer_figure(table: Table, path: Path) -> Path | None:
    """NRMSE of each layer of a codec by how it is predicted: means over frames of true motion."""
    rows = select(table, study="codec_motion", motion="flow")
    errors = {name: column[np.isfinite(rows["nrmse"])] for name, column in rows.items()}
    layers, ways = names(errors["layer"]), names(errors["way"])
    if not layers:
        return None
    figure, axes = new_figure(max(6.4, 0.9 * len(layers)), 3.8, make=True)
    for i, way in enumerate(ways):
        heights = [np.mean(select(errors, layer=layer, way=way)["nrmse"]) for layer in layers]
        places = np.arange(len(layers)) + (i - (len(ways) - 1) / 2) * 0.8 / len(ways)
        axes.bar(places, heights, width=0.75 / len(ways), label=way)
    axes.set_xticks(range(len(layers)), layers, rotation=25, ha="right", fontsize=8)
    axes.set_ylabel("NRMSE")
    _plain_legend(axes)
    return save_figure(figure, path)


def shift_figure(table: Table, path: Path) -> Path | None:
    """Over shifts by whole pixels: NRMSE of each layer by latent motion, and bits of what each way leaves."""
    rows = select(table, study="codec_motion", motion="shift")
    if not len(rows["study"]):
        return None
    figure, _ = new_figure(10.4, 3.8)
    left, right = figure.subplots(1, 2)
    moved = select(rows, way="latent motion")
    for layer in (layer for layer in names(moved["layer"]) if layer not in ("", FRAME)):
        values, mean, _ = means(select(moved, layer=layer))
        left.plot(values, mean, marker=".", label=_label(layer))
    left.set(xlabel="shift [pixels]", ylabel="NRMSE by latent motion")
    for way in names(rows["way"]):
        rates = select(rows, way=way, layer="")
        if len(rates["study"]):
            values, mean, _ = means(rates, "bpp_ideal")
            right.plot(values, mean, marker=".", label=way)
    right.set(xlabel="shift [pixels]", ylabel="bits per pixel (entropy of the symbols)")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        _plain_legend(axes)
    return save_figure(figure, path)


def rate_figure(table: Table, path: Path) -> Path | None:
    """PSNR over estimated rate of each way of coding a frame of true motion, means over frames."""
    rows = select(table, study="codec_motion", motion="flow", layer="")
    if not len(rows["study"]):
        return None
    figure, _ = new_figure(10.4, 3.8)
    for axes, key in zip(figure.subplots(1, 2), ("bpp", "bpp_ideal"), strict=True):
        for way in names(rows["way"]):
            one = select(rows, way=way)
            points = [select(one, label=label) for label in names(one["label"])]
            axes.plot([p[key].mean() for p in points], [p["psnr"].mean() for p in points], marker="o", label=way)
        title = {"bpp": "by the codec's entropy models", "bpp_ideal": "by the entropy of the symbols"}[key]
        axes.set(xlabel="bits per pixel", ylabel="PSNR [dB]")
        axes.set_title(title, fontsize=9)
        axes.grid(alpha=0.25)
    _plain_legend(axes)  # pyright: ignore[reportPossiblyUnboundVariable]
    return save_figure(figure, path)


def summary(table: Table) -> list[dict[str, Any]]:
    """A row for each study, motion, layer, way and point: means, and the largest NRMSE, over all there is."""
    keys = ("study", "network", "dataset", "motion", "layer", "way", "label")
    columns = [table[key] for key in keys]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, group in enumerate(zip(*columns, strict=True)):
        groups.setdefault(group, []).append(i)
    found = []
    for group, places in groups.items():
        row: dict[str, Any] = dict(zip(keys, group, strict=True)) | {"rows": len(places)}
        row["images"] = len(set(table["item"][places]))
        for key in ("nrmse", "bpp", "bpp_ideal", "psnr", "epe"):
            values = table[key][places]
            values = values[np.isfinite(values)]
            row[key] = float(values.mean()) if len(values) else None
            if key == "nrmse":
                row |= {"nrmse_max": float(values.max()) if len(values) else None}
        found.append(row)
    return found


def summary_table(table: Table) -> str:
    """The summary as plain text."""
    rows = summary(table)
    numbers = {"nrmse": 4, "nrmse_max": 4, "epe": 2, "bpp": 4, "bpp_ideal": 4, "psnr": 2}
    shown = {key: digits for key, digits in numbers.items() if any(row[key] is not None for row in rows)}
    texts = [key for key in ("study", "layer", "motion", "way", "label") if any(row[key] for row in rows)]
    lines = [
        [printable(row[key]) or "-" for key in texts]
        + ["-" if row[key] is None else f"{row[key]:.{digits}f}" for key, digits in shown.items()]
        for row in rows
    ]
    return "\n".join(aligned([*texts, *shown], lines)) if rows else "Nothing was measured."


def means(rows: Table, key: str = "nrmse") -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Values of a sweep in order, and mean and standard deviation over images at each; NaN is left out."""
    values = np.unique(rows["value"])
    groups = [rows[key][(rows["value"] == value) & np.isfinite(rows[key])] for value in values]
    return (
        values,
        np.array([group.mean() if len(group) else np.nan for group in groups]),
        np.array([group.std() if len(group) else np.nan for group in groups]),
    )


def smoothed(values: NDArray[Any], exact: NDArray[Any], part: float = _WINDOW, order: int = _ORDER) -> NDArray[Any]:
    """Savitzky-Golay filter: at each place the polynomial of `order` that fits a window of a `part` of all values best.

    The window has at least order + 2 values; at the ends it is the first or last whole one. Where `exact`, the value
    stays.
    """
    width = min(max(2 * int(part * len(values) / 2) + 1, order + 2 + order % 2), len(values))
    if width <= order:
        return values.copy()
    result = np.empty(len(values))
    for i in range(len(values)):
        first = min(max(i - width // 2, 0), len(values) - width)
        places = np.arange(first, first + width) - i
        result[i] = np.polynomial.polynomial.polyfit(places, values[first : first + width], order)[0]
    return np.where(exact, values, result)


def density(samples: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    """Gaussian kernel density estimate with Scott's bandwidth."""
    width = max(samples.std(ddof=1) if len(samples) > 1 else 0.0, 1e-6) * len(samples) ** -0.2
    kernels = np.exp(-0.5 * ((at[:, None] - samples) / width) ** 2)
    return kernels.mean(1) / (width * np.sqrt(2 * np.pi))


def _label(name: str) -> str:
    """A name that matplotlib does not leave out of the legend, as it does with a leading "_"."""
    return " " + name if name.startswith("_") else name


def _plain_legend(axes: Any) -> None:
    for text in axes.legend(frameon=False, fontsize=8).get_texts():
        text.set_parse_math(False)


def new_figure(width: float, height: float, make: bool = False) -> tuple[Any, Any]:
    """A figure of so many inches without a window and, if wished, axes that fill it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot() if make else None


def save_figure(figure: Any, path: Path) -> Path:
    """Write the figure as a PNG, whole or not at all; its path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
    return path


FIGURES = {
    "curves": curve_figure,
    "histogram": histogram_figure,
    "codec_layers": layer_figure,
    "codec_shifts": shift_figure,
    "codec_rates": rate_figure,
}
"""By file name: each draws what the table has for it, or gives None."""


def figures(table: Table, folder: Path, wanted: Sequence[str] = tuple(FIGURES)) -> dict[str, Path]:
    """All figures that the table has rows for, in a folder."""
    made = {name: FIGURES[name](table, folder / f"{name}.png") for name in wanted}
    return {name: path for name, path in made.items() if path is not None}
