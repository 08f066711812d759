"""Bjontegaard deltas as tables: text for a terminal, JSON, CSV and LaTeX. No torch needed."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from nic_lightning.media.base import Medium, Quality
from nic_lightning.metrics.bd import BdResult
from nic_lightning.report.curves import latex
from nic_lightning.report.curves.comparison import Comparison
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.text import aligned
from nic_lightning.runs.record.text import printable


def record(comparison: Comparison, curve: Curve) -> dict[str, Any]:
    """Everything about one delta as plain values; `curve` is the one that was compared."""
    result, interval = comparison.result, comparison.interval
    made: dict[str, Any] = {"dataset": curve.dataset, "anchor": comparison.anchor, "curve": comparison.test}
    made |= {"metric": comparison.metric, "kind": result.kind if result else None}
    made |= {"method": result.method if result else None, "value": result.value if result else None}
    made |= {"interval_low": interval.low if interval else None, "interval_high": interval.high if interval else None}
    made |= {"level": interval.level if interval else None, "draws": interval.draws if interval else None}
    made |= {"failed_draws": interval.failed if interval else None}
    made |= {f"overlap_{end}": result.overlap[i] if result else None for i, end in enumerate(("low", "high"))}
    made |= {"overlap_fraction": result.overlap_fraction if result else None, "images": comparison.images}
    made |= {"images_without_value": len(comparison.without)}
    made |= {"published": curve.published, "source": curve.source or None}
    return made | {"problem": comparison.problem, "note": comparison.note}


def as_json(rows: Sequence[tuple[Comparison, Curve]]) -> str:
    """A list of records, each with the curve's points and the run of each, and the images that were left out."""
    listed = []
    for comparison, curve in rows:
        measured = curve.without(comparison.without).points
        points = [
            {key: point[key] for key in ("run", "label", curve.medium.rate.key, comparison.metric)}
            for point in measured
        ]
        listed.append(record(comparison, curve) | {"points": points, "left_out": dict(comparison.left_out)})
    return json.dumps(listed, indent=2)


def as_csv(rows: Sequence[tuple[Comparison, Curve]]) -> str:
    """A line for each record."""
    text = io.StringIO()
    records = [record(*row) for row in rows]
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().rstrip("\n")


def as_text(rows: Sequence[tuple[Comparison, Curve]], kind: str) -> str:
    """The deltas against one anchor as aligned columns, and notes below them."""
    header, lines, notes = _cells(rows, kind)
    numbered = [f"[{i + 1}] {note}" for i, note in enumerate(notes)]
    return "\n".join(printable(line) for line in [*aligned(header, lines), *numbered])


def as_latex(rows: Sequence[tuple[Comparison, Curve]], kind: str) -> str:
    """The same as a `tabular` for the package booktabs, notes as comments above it."""
    header, lines, notes = _cells(rows, kind)
    made = [f"% [{i + 1}] {printable(note)}" for i, note in enumerate(notes)]
    made += [f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", "\\toprule"]
    made += [" & ".join(map(latex_escaped, header)) + r" \\", "\\midrule"]
    made += [" & ".join(map(latex_escaped, line)) + r" \\" for line in lines]
    return "\n".join([*made, "\\bottomrule", "\\end{tabular}"])


def latex_escaped(text: str) -> str:
    """Any text as LaTeX prints it, in one line; signs of numbers become those of mathematics."""
    plain = latex.escaped(printable(text))
    return re.sub(r"(?<![\w.}])([+-])(?=\d)", r"$\1$", plain)


def title(anchor: Curve, metric: str, kind: str, method: str, per_image: bool) -> str:
    """What a table is about, in one line."""
    items, quality = anchor.medium.items, anchor.medium.quality(metric)
    how = f"mean of the {items}' own deltas" if per_image else f"curves of means over {items}"
    better = "more" if kind == "quality" and not quality.lower_is_better else "less"
    what = f"BD-rate over {quality.title}" if kind == "rate" else f"BD-{quality.title}"
    return printable(f"{anchor.dataset}: {what} against {anchor.name}, {how}, {method}; {better} is better")


def origins(curve: Curve) -> str:
    """The points of a curve, and the run of each, in one line."""
    points = [point["label"] + (f" of {point['run']}" if point["run"] else "") for point in curve.points]
    return printable(f"{curve.name}: {', '.join(points)}")


def _cells(rows: Sequence[tuple[Comparison, Curve]], kind: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, lines, and notes that the lines refer to by number."""
    medium = rows[0][1].medium
    quality = medium.quality(rows[0][0].metric)
    over = quality.title if kind == "rate" else "rate"
    levels = {comparison.interval.level for comparison, _ in rows if comparison.interval}
    interval = f"{max(levels):.0%} interval" if levels else "interval"
    header = ["curve", f"BD-{'rate' if kind == 'rate' else quality.title}", interval]
    header += [f"{over} in common", "part", medium.items, "notes"]
    notes: list[str] = []
    lines = []
    for comparison, curve in rows:
        marks = []
        for note in _notes(comparison):
            if note not in notes:
                notes.append(note)
            marks.append(f"[{notes.index(note) + 1}]")
        numbers = _numbers(comparison.result, medium) if comparison.result else ["none", "-", "-"]
        between = "-"
        if comparison.interval:
            low, high = (_value(end, quality, kind) for end in (comparison.interval.low, comparison.interval.high))
            between = f"{low} to {high}"
        images = "-" if comparison.images is None else _of_all(comparison)
        lines.append([curve.name, numbers[0], between, *numbers[1:], images, " ".join(marks)])
    return header, lines, notes


def _of_all(comparison: Comparison) -> str:
    gone = len(comparison.without)
    return f"{comparison.images} of {(comparison.images or 0) + gone}" if gone else str(comparison.images)


def _notes(comparison: Comparison) -> list[str]:
    notes = [note for note in (comparison.problem, comparison.note) if note]
    if comparison.interval and comparison.interval.failed:
        failed, draws = comparison.interval.failed, comparison.interval.draws
        notes.append(f"{failed} of {draws} draws of images have no delta and are left out of the interval.")
    return notes


def _numbers(result: BdResult, medium: Medium) -> list[str]:
    """Value, overlap, and which part of the curves that is."""
    quality = medium.quality(result.metric)
    unit = f" {medium.rate.unit}" if result.kind == "quality" else quality.suffix
    digits = 3 if result.kind == "quality" else quality.digits
    low, high = (f"{end:.{digits}f}" for end in result.overlap)
    suffix = " %" if result.kind == "rate" else quality.suffix
    return [
        _value(result.value, quality, result.kind) + suffix,
        f"{low} to {high}{unit}",
        f"{result.overlap_fraction:.0%}",
    ]


def _value(value: float, quality: Quality, kind: str) -> str:
    digits = 2 if kind == "rate" else quality.digits + 1
    return f"{value:+.{digits}f}"
