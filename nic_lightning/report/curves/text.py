"""The results as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nic_lightning.report.curves.curve import RATES, Curve, gaps_of
from nic_lightning.report.curves.curves import curves, datasets
from nic_lightning.runs.record.text import printable

_COLUMNS = {
    "point": ("label", "{}"),
    "bpp": ("bpp", "{:.4f}"),
    "estimated": ("bpp_estimated", "{:.4f}"),
    "PSNR": ("psnr", "{:.2f}"),
    "MS-SSIM dB": ("ms_ssim_db", "{:.2f}"),
    "LPIPS": ("lpips", "{:.4f}"),
}


def rd_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rate-distortion table: a block for each data set, a line for each codec and point, means over images.

    Columns: bits per pixel of the files, bits per pixel by the entropy model, PSNR and MS-SSIM in dB, LPIPS. A quality
    that some images have no finite value of has a block of its own, with the rates of the others.
    """
    made = curves(rows)
    if not made:
        return "No results."
    blocks = [_block(name, [c for c in made if c.dataset == name]) for name in datasets(made)]
    return "\n\n".join(blocks)


def aligned(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells as text columns: the first two to the left, numbers to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *lines, strict=True)]
    out = []
    for line in [header, ["-" * width for width in widths], *lines]:
        sides = "<<" + ">" * len(line)
        padded = [f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=False)]
        out.append("  ".join(padded).rstrip())
    return out


def _block(dataset: str, here: Sequence[Curve]) -> str:
    counts = {point["images"] for curve in here for point in curve.points}
    images = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    title = f"{dataset} ({images} image{'' if counts == {1} else 's'})"
    parts = [_table(title, here, _COLUMNS)]
    for gap in gaps_of(here):
        columns = {name: column for name, column in _COLUMNS.items() if column[0] in ("label", *RATES, gap.metric)}
        parts.append(_table(f"{dataset}, rates and quality over {gap.about}", gap.curves, columns))
    return "\n\n".join(parts)


def _table(title: str, here: Sequence[Curve], columns: Mapping[str, tuple[str, str]]) -> str:
    lines = [
        [curve.name if number == 0 else "", *_cells(point, columns)]
        for curve in here
        for number, point in enumerate(curve.points)
    ]
    return "\n".join(printable(line) for line in [title, *aligned(["codec", *columns], lines)])


def _cells(point: Mapping[str, Any], columns: Mapping[str, tuple[str, str]]) -> list[str]:
    shown = [(point[key], pattern) for key, pattern in columns.values()]
    return ["-" if value is None else pattern.format(value) for value, pattern in shown]
