"""translation.json: how translations of a run were measured, a row for each system, guide and task. No torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.files import read_inside, write_atomically

TRANSLATION = "translation.json"
GRIDS = Path("figures") / "translation"
"""Folder of the pictures, in a run folder."""
MAX_BYTES, MAX_ROWS, MAX_KEYS, MAX_TEXT = 2**25, 20_000, 60, 1000
_SCHEMA = 1


def write_translation(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, which replace older ones of the same system and validation set. NaN becomes None."""
    new = {(row["system"], row.get("validation")) for row in rows}
    try:
        old = read_translation(folder)
    except RunError:  # damaged: it holds nothing worth keeping
        old = []
    kept = [row for row in old if (row["system"], row.get("validation")) not in new]
    plain = [{key: _plain(value) for key, value in row.items()} for row in [*kept, *rows]]
    text = json.dumps({"schema": _SCHEMA, "rows": plain}, indent=1, allow_nan=False)
    write_atomically(folder / TRANSLATION, text + "\n")


def read_translation(folder: Path) -> list[dict[str, Any]]:
    """The rows; none where nothing was measured. RunError when the file is damaged."""
    if not os.path.lexists(folder / TRANSLATION):
        return []
    try:
        found = json.loads(read_inside(folder, TRANSLATION, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{TRANSLATION} is damaged.") from error
    rows = found.get("rows") if isinstance(found, dict) and found.get("schema") == _SCHEMA else None
    if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(map(_is_row, rows)):
        raise RunError(f"{TRANSLATION} is damaged.")
    return rows


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or len(row) > MAX_KEYS or not isinstance(row.get("system"), str):
        return False
    return all(len(key) < 100 and _is_value(value) for key, value in row.items())


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or (type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value))
