"""translation.json: how translations of a run were measured, a row for each system, guide and task. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.record.row_file import RowFile

TRANSLATION = "translation.json"
GRIDS, WHILE_TRAINING = Path("figures") / "translation", Path("figures") / "translations"
"""Folders of the pictures that evaluations and training made, in a run folder."""
_WORDS = ("guide", "source", "target", "train", "validation", "note")
_TASK = ("system", "guide", "source", "target")
_FILE = RowFile(TRANSLATION, key=("system", "validation"), texts=("system",), words=_WORDS)

_UNFINISHED = RowFile("translation_unfinished.json", key=(), texts=("of", "system"), words=_WORDS)


class Unfinished:
    """The rows of an evaluation under way, so that one that was stopped goes on where it was.

    Args:
        folder: run folder; translation_unfinished.json lies in it until the evaluation is done.
        about: plain values that the rows follow from. Rows of anything else are forgotten.
    """

    def __init__(self, folder: Path, about: object) -> None:
        self.folder = folder
        self._of = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        try:
            rows = _UNFINISHED.read(folder)
        except RunError:  # damaged: measure again
            rows = []
        self._rows = [row for row in rows if row["of"] == self._of]

    def find(self, *task: str | None) -> dict[str, Any] | None:
        """The row of a task (system, guide, source, target), if it was measured."""
        for row in self._rows:
            if tuple(row.get(name) for name in _TASK) == task:
                return {name: value for name, value in row.items() if name != "of"}
        return None

    def keep(self, row: Mapping[str, Any]) -> None:
        """A task was measured."""
        self._rows.append({**row, "of": self._of})
        _UNFINISHED.write(self.folder, self._rows)

    def done(self) -> None:
        """All rows are where they belong."""
        (self.folder / _UNFINISHED.name).unlink(missing_ok=True)


def write_translation(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, which replace older ones of the same system and validation set. NaN becomes None."""
    _FILE.write(folder, rows)


def read_translation(folder: Path) -> list[dict[str, Any]]:
    """The rows; none where nothing was measured. RunError when the file is damaged."""
    return _FILE.read(folder)
