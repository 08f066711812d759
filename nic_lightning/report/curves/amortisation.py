"""Figures of the amortisation gap as PNG files, from the rows and arrays that `nic amortisation` measures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.runs.record.files import write_atomically

Row = Mapping[str, Any]
NAMES = {"ideal": "ideal", "adapted": "adapted tables", "gaussian": "Gaussians", "backward": "backward adaptation"}
CLIP = 10.0
"""Bits at which signatures are cut off."""


def gain_figure(rows: Sequence[Row], path: Path) -> Path:
    """Rate that could be saved and that is, per cent of the rate with static tables, a group of bars for each point.

    Side information is the dark part of the adapted tables' bar: what they would save more if it came for nothing.
    """
    ways = [way for way in NAMES if all(row.get(way) is not None for row in rows)]
    figure, axes = _axes(7.2, 4.2)
    for i, way in enumerate(ways):
        places = np.arange(len(rows)) + (i - (len(ways) - 1) / 2) * 0.8 / len(ways)
        gains = np.array([100 * (1 - row[way] / row["static"]) for row in rows])
        axes.bar(places, gains, width=0.75 / len(ways), label=NAMES[way])
        if way == "adapted":
            side = np.array([row["side"] * row["adapted"] / row["static"] for row in rows])
            label = "their side information"
            axes.bar(places, side, bottom=gains, width=0.75 / len(ways), color="0.35", label=label)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xticks(range(len(rows)), [str(row["label"]) for row in rows])
    axes.set(xlabel="operating point", ylabel="rate saved [% of static tables]")
    axes.legend(frameon=False, fontsize=8, ncols=len(ways) + 1, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _save(figure, path)


def channel_figure(rows: Sequence[Row], path: Path) -> Path:
    """Mean over images of the divergence of each channel's symbols from its tables, the largest first.

    Rows are those of one operating point and latent, with `channel`, `latents`, `static`, `ideal` and perhaps
    `adapted`, in bits.
    """
    figure, axes = _axes(7.2, 3.6)
    static = _losses(rows, "static")
    order = np.argsort(-static, kind="stable")
    axes.bar(range(len(order)), static[order], width=0.9, label="static tables", color="tab:gray")
    if all(row.get("adapted") is not None for row in rows):
        axes.bar(range(len(order)), _losses(rows, "adapted")[order], width=0.9, label="adapted tables")
    axes.set(xlabel="channel, in order of its loss", ylabel="divergence [bits per latent]")
    axes.legend(frameon=False, fontsize=9)
    return _save(figure, path)


def signature_figure(signatures: Sequence[Row], path: Path) -> Path:
    """-log2 of the distributions of all channels: what static tables expect, what images have, what is sent for them.

    Each signature has `item`, `image` (H, W, 3), and `static`, `own` and perhaps `adapted`, probabilities (C, symbols);
    `first` is the symbol of the first column. Dark: no bits; white: 10 or more. Symbols that nothing expects are left
    out.
    """
    signatures = _cropped(signatures)
    adapted = all(s.get("adapted") is not None for s in signatures)
    titles = ["image", "its symbols", *(["adapted tables", "their difference"] if adapted else ["static tables"])]
    figure, _ = _axes(3.1 * len(titles), 2.6 * (len(signatures) + 1), make=False)
    grid = figure.subplots(len(signatures) + 1, len(titles), squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    _distribution(grid[0, 1], signatures[0], "static")
    grid[0, 1].set_title("static tables, for all images", fontsize=9)
    for axes in (grid[0, 0], *grid[0, 2:]):
        axes.set_axis_off()
    for row, signature in zip(grid[1:], signatures, strict=True):
        row[0].imshow(signature["image"])
        row[0].set_ylabel(str(signature["item"]), fontsize=8).set_parse_math(False)
        _distribution(row[1], signature, "own")
        _distribution(row[2], signature, "adapted" if adapted else "static")
        if adapted:
            difference = _bits(signature["adapted"]) - _bits(signature["own"])
            row[3].imshow(difference.T, aspect="auto", origin="lower", cmap="RdBu", vmin=-CLIP, vmax=CLIP)
        for axes, title in zip(row, titles, strict=True):
            axes.set_title(title, fontsize=9)
    return _save(figure, path)


def _distribution(axes: Any, signature: Row, key: str) -> None:
    bits, first = _bits(signature[key]), signature["first"] - 0.5
    extent = (-0.5, len(bits) - 0.5, first, first + bits.shape[1])
    axes.imshow(bits.T, aspect="auto", origin="lower", cmap="BuPu_r", vmin=0, vmax=CLIP, extent=extent)
    axes.set(xticks=[0, len(bits) - 1], yticks=[signature["first"], 0])
    axes.set_xlabel("channel", fontsize=8)
    axes.set_ylabel("symbol", fontsize=8)
    axes.tick_params(labelsize=7)


def _cropped(signatures: Sequence[Row]) -> list[Row]:
    kinds = [kind for kind in ("own", "static", "adapted") if signatures[0].get(kind) is not None]
    likely = np.any([(s[kind] > 2.0**-CLIP).any(0) for s in signatures for kind in kinds], axis=0)
    shown = np.flatnonzero(likely)
    first, last = (int(shown[0]), int(shown[-1]) + 1) if shown.size else (0, len(likely))
    return [{**s, "first": s["first"] + first, **{kind: s[kind][:, first:last] for kind in kinds}} for s in signatures]


def _bits(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum(-np.log2(np.maximum(probabilities, 2.0**-30)), CLIP)


def _losses(rows: Sequence[Row], way: str) -> np.ndarray:
    losses: dict[int, list[float]] = {}
    for row in rows:
        losses.setdefault(int(row["channel"]), []).append((row[way] - row["ideal"]) / row["latents"])
    return np.array([np.mean(losses[channel]) for channel in sorted(losses)])


def _axes(width: float, height: float, make: bool = True) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot() if make else None


def _save(figure: Any, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())
    return path
