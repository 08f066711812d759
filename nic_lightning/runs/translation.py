"""translation.json: how translations of a run were measured, a row for each system, guide and task. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.runs.row_file import RowFile

TRANSLATION = "translation.json"
GRIDS, WHILE_TRAINING = Path("figures") / "translation", Path("figures") / "translations"
"""Folders of the pictures that evaluations and training made, in a run folder."""
_WORDS = ("guide", "source", "target", "train", "validation", "note")
_FILE = RowFile(TRANSLATION, key=("system", "validation"), texts=("system",), words=_WORDS)


def write_translation(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, which replace older ones of the same system and validation set. NaN becomes None."""
    _FILE.write(folder, rows)


def read_translation(folder: Path) -> list[dict[str, Any]]:
    """The rows; none where nothing was measured. RunError when the file is damaged."""
    return _FILE.read(folder)
