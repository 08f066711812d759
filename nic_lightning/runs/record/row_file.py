"""A small JSON file of a run folder with flat rows: texts, numbers, None. No torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.record.files import read_inside, write_atomically

MAX_BYTES, MAX_ROWS, MAX_KEYS, MAX_TEXT = 2**25, 20_000, 60, 1000
_SCHEMA = 1


@dataclass(frozen=True)
class RowFile:
    """The file `name` of any run folder.

    `key` are the columns by which new rows replace older ones; rows lack them, or have any value there. `texts` are
    columns that hold a text in every row, `words` those that hold a text or None; all others hold a number or None.
    """

    name: str
    key: tuple[str, ...]
    texts: tuple[str, ...]
    words: tuple[str, ...] = ()

    def write(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, which replace older ones of the same key. NaN becomes None."""
        new = {self._key(row) for row in rows}
        try:
            old = self.read(folder)
        except RunError:  # damaged: it holds nothing worth keeping
            old = []
        kept = [row for row in old if self._key(row) not in new]
        plain = [{key: _plain(value) for key, value in row.items()} for row in [*kept, *rows]]
        text = json.dumps({"schema": _SCHEMA, "rows": plain}, indent=1, allow_nan=False)
        write_atomically(folder / self.name, text + "\n")

    def read(self, folder: Path) -> list[dict[str, Any]]:
        """The rows; none where there is no file. RunError when it is damaged."""
        if not os.path.lexists(folder / self.name):
            return []
        try:
            found = json.loads(read_inside(folder, self.name, MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{self.name} is damaged.") from error
        rows = found.get("rows") if isinstance(found, dict) and found.get("schema") == _SCHEMA else None
        if not isinstance(rows, list) or len(rows) > MAX_ROWS or not all(map(self._is_row, rows)):
            raise RunError(f"{self.name} is damaged.")
        return rows

    def _key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(column) for column in self.key)

    def _is_row(self, row: Any) -> bool:
        if not isinstance(row, dict) or len(row) > MAX_KEYS:
            return False
        if not all(isinstance(row.get(column), str) for column in self.texts):
            return False
        named = {*self.texts, *self.words}
        return all(len(key) < 100 and (_is_text if key in named else _is_number)(value) for key, value in row.items())


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= MAX_TEXT)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value))
