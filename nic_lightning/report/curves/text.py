"""The results as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nic_lightning.media.base import Medium
from nic_lightning.report.curves.curve import Curve, gaps_of
from nic_lightning.report.curves.curves import curves, datasets
from nic_lightning.runs.record.text import printable


def rd_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rate-distortion table: a block for each data set, a line for each codec and point, means over images.

    Columns: rate of the files, rate by the entropy model, and qualities: of images bits per pixel, PSNR, MS-SSIM in dB,
    LPIPS. A quality that some images have no finite value of has a block of its own, with the rates of the others.
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
    medium = here[0].medium
    title = f"{dataset} ({images} {medium.name if counts == {1} else medium.items})"
    columns = _columns(medium)
    parts = [_table(title, here, columns)]
    for gap in gaps_of(here):
        kept = ("label", *medium.rates, gap.metric)
        of_gap = {name: column for name, column in columns.items() if column[0] in kept}
        parts.append(_table(f"{dataset}, rates and quality over {gap.about}", gap.curves, of_gap))
    return "\n\n".join(parts)


def _columns(medium: Medium) -> dict[str, tuple[str, str]]:
    """By heading: the key of a point, and how its value is written."""
    columns = {"point": ("label", "{}")}
    columns |= {medium.rate.unit: (medium.rate.key, "{:.4f}"), "estimated": (medium.rate.estimated, "{:.4f}")}
    return columns | {medium.heading(key): (key, f"{{:.{one.digits}f}}") for key, one in medium.drawn.items()}


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
