"""Measured translations: tables for the terminal and the page, and pictures for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.report.curves.text import aligned
from nic_lightning.report.page.gallery import folded_pictures
from nic_lightning.report.page.markup import details, escaped, number, table
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.text import printable
from nic_lightning.runs.record.translation import GRIDS, WHILE_TRAINING, read_translation

Row = Mapping[str, Any]
MAX_PICTURES, MAX_TOTAL = 12, 16 * 2**20
"""Grids in a page, and bytes of them."""
NOTE = (
    "Means over all ordered pairs of domains. Rates are of files, header included; where a source image has one file "
    "for all its outputs, it counts once. Accuracy: outputs that a linear discriminant in a network&rsquo;s features, "
    "made from real images, takes for the target domain. Values of different networks do not compare."
)
_TEXTS = ("system", "guide", "source", "target")
_HIDDEN = {*_TEXTS, "note", "train", "validation", "size", "seed", "tasks", "real", "images"}
_DIGITS = {"bpp": 4, "lpips_diversity": 3, "outputs": 0}


def means(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One row for each system, guide and validation set: means over its tasks; None where one has no value."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["system"], row.get("guide"), row.get("validation")), []).append(row)
    return [_mean(group) for group in groups.values()]


def translation_table(rows: Sequence[Row]) -> str:
    """Means as text, and below what makes them doubtful."""
    averaged = means(rows)
    columns = _columns(averaged)
    lines = [
        [str(row["system"]), str(row.get("guide") or "-"), *(_cell(row.get(key), key) for key in columns)]
        for row in averaged
    ]
    notes = dict.fromkeys(str(row["note"]) for row in averaged if row.get("note"))
    text = aligned(["system", "guide", *map(_title, columns)], lines) + [f"Note: {note}" for note in notes]
    return "\n".join(printable(line) for line in text)


def translation_section(runs: Sequence[Run]) -> str:
    """The tables and pictures of all runs as HTML; empty where no run has any."""
    parts, room = [], [MAX_TOTAL]
    for run in runs:
        try:
            rows = read_translation(run.folder)
        except RunError as error:
            run.add_problem(error)
            continue
        pictures = _pictures(run, room)
        if rows or pictures:
            parts.append(f"<h3>{escaped(run.name)}</h3>{_tables(rows) if rows else ''}{pictures}")
    return "".join(parts)


def _tables(rows: Sequence[Row]) -> str:
    averaged = means(rows)
    notes = dict.fromkeys(str(row["note"]) for row in averaged if row.get("note"))
    doubts = "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)
    whole = details("Every pair of domains", _html(rows, ("system", "guide", "source", "target")))
    return _html(averaged, ("system", "guide")) + doubts + whole


def _html(rows: Sequence[Row], texts: Sequence[str]) -> str:
    columns = _columns(rows)
    lines = [
        [escaped(row.get(key) or "") for key in texts]
        + [number(row.get(key), _DIGITS.get(key, _default(key))) for key in columns]
        for row in rows
    ]
    header = [*texts, *map(_title, columns)]
    return table([escaped(name) for name in header], lines, text_columns=len(texts))


def _pictures(run: Run, room: list[int]) -> str:
    """Those of the evaluation, and the last one that training drew."""
    found = sorted((run.folder / GRIDS).glob("*.png"))[:MAX_PICTURES]
    found += sorted((run.folder / WHILE_TRAINING).glob("step_*.png"))[-1:]
    return folded_pictures(run, found, room)


def _columns(rows: Sequence[Row]) -> list[str]:
    found = dict.fromkeys(key for row in rows for key in row if key not in _HIDDEN)
    return [key for key in found if any(isinstance(row.get(key), int | float) for row in rows)]


def _title(key: str) -> str:
    """Column of a key; metrics have their network's name."""
    kind, _, rest = key.partition("_")
    names = {"fid": f"FID {rest}", "kid": f"KID {rest}", "accuracy": f"accuracy {rest}", "lpips": "LPIPS diversity"}
    return names.get(kind, key)


def _cell(value: Any, key: str) -> str:
    return "-" if value is None or value != value else f"{value:.{_DIGITS.get(key, _default(key))}f}"


def _default(key: str) -> int:
    return 2 if key.startswith("fid") else 4 if key.startswith("kid") else 3


def _mean(group: Sequence[Row]) -> dict[str, Any]:
    row: dict[str, Any] = {key: group[0].get(key) for key in ("system", "guide", "validation")}
    row["tasks"] = len(group)
    for key in dict.fromkeys(key for one in group for key in one):
        values = [one.get(key) for one in group]
        if key in ("images", "outputs", "real"):
            row[key] = min((value for value in values if value is not None), default=None)
        elif key not in row and key not in (*_TEXTS, "note", "train", "size", "seed"):
            row[key] = None if None in values else sum(values) / len(values)  # type: ignore[arg-type]
    doubtful = sorted((one for one in group if one.get("note")), key=lambda one: one.get("outputs") or 0)
    return row | {"note": doubtful[0]["note"] if doubtful else None}
