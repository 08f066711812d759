"""distances.json: Fréchet distances of a run's reconstructions from the originals, a row for each point. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.runs.record.row_file import RowFile

DISTANCES = "distances.json"
_FILE = RowFile(
    DISTANCES,
    key=("codec", "dataset", "name"),
    texts=("codec", "dataset", "label", "name"),
    words=("note",),
)


def write_distances(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, which replace older ones of the same codec, data set and name.

    A row has the texts "codec", "dataset", "label" (operating point) and "name" (such as "fid256_inception_2015"),
    "value", "patches" (of the originals) and "note", what to doubt; in newer files "bpp", the mean rate of the "images"
    that have a patch, of "images_in_all".
    """
    _FILE.write(folder, rows)


def read_distances(folder: Path) -> list[dict[str, Any]]:
    """The rows; none where none was measured. RunError when the file is damaged."""
    return _FILE.read(folder)
