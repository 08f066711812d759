"""What an evaluation under way has measured, image by image, so that one that was killed goes on. No torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.media.base import find_medium
from nic_lightning.metrics.measured import Measured
from nic_lightning.runs.record.results import RESULT_COLUMNS

NAME = "evaluation_unfinished.{rank}.jsonl"
MAX_BYTES = 2**28
"""Of one file that are read: a run folder may come from anybody."""
_TEXTS = {"medium", *(name for name, kind in RESULT_COLUMNS.items() if kind == "string")}


class Journal:
    """Lines of JSON in a run folder, one for each image, until the evaluation is done.

    Each process appends to a file of its own, and finds what any of them wrote. A line that a kill cut is ignored.

    Args:
        folder: run folder.
        rank: number of this process.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder, self._path = folder, folder / NAME.format(rank=rank)
        self._found: dict[str, Measured] = {}
        for path in self._files():
            self._read(path)
        self.found_before = len(self._found)
        """Images that an earlier evaluation left."""

    def find(self, key: str) -> Measured | None:
        """What was measured under a key, which names all that it follows from."""
        return self._found.get(key)

    def keep(self, key: str, measured: Measured) -> None:
        """Add a line, which is in the file when this returns."""
        self._found[key] = measured
        line = {"key": key, "rows": measured.rows, "rates": measured.rates, "refused": measured.refused}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            if file.tell() and not _ends_line(self._path):
                file.write(b"\n")
            file.write(json.dumps(line).encode() + b"\n")

    def done(self) -> None:
        """All rows are in the results table."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob(NAME.format(rank="*"))) if path.is_file()]

    def _read(self, path: Path) -> None:
        if path.is_symlink() or path.stat().st_size > MAX_BYTES:
            return
        for line in path.read_bytes().splitlines():
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                continue
            measured = _measured(content)
            if measured is not None:
                self._found[content["key"]] = measured


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _measured(content: Any) -> Measured | None:
    """A line's content, None where it is not what `keep` writes."""
    if not isinstance(content, dict) or not isinstance(content.get("key"), str):
        return None
    rows, rates, refused = content.get("rows"), content.get("rates"), content.get("refused")
    if not (
        isinstance(rows, list) and all(map(_is_row, rows)) and isinstance(rates, list) and all(map(_is_rate, rates))
    ):
        return None
    if not (refused is None or isinstance(refused, str)):
        return None
    return Measured(rows, [(label, latent, values) for label, latent, values in rates], refused)


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("medium"), str | None):
        return False
    try:
        own = find_medium(row.get("medium")).columns
    except UserError:
        return False
    return all(
        (name in RESULT_COLUMNS or name in own or name in _TEXTS)
        and (value is None or (isinstance(value, str) if name in _TEXTS else type(value) in (int, float)))
        for name, value in row.items()
    )


def _is_rate(rate: Any) -> bool:
    return (
        isinstance(rate, list)
        and len(rate) == 3
        and isinstance(rate[0], str)
        and isinstance(rate[1], str)
        and isinstance(rate[2], list)
        and all(type(value) in (int, float) and math.isfinite(value) for value in rate[2])
    )
