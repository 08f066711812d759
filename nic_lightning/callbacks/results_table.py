"""How evaluations put rows into the results table of a run folder. No torch needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nic_lightning.runs.record.results import read_results, write_results

log = logging.getLogger(__name__)
RESULTS = "results.parquet"
Row = dict[str, Any]


def kept_rows(folder: Path) -> list[Row]:
    """The rows of a run folder; none where it has no table yet."""
    path = folder / RESULTS
    return read_results(path) if path.is_file() else []


def replace_rows(folder: Path, rows: Sequence[Row], items: str = "images") -> None:
    """Write rows in the place of earlier ones of the same codec and data set; a warning says where those had more."""
    new = {(row["codec"], row["dataset"]) for row in rows}
    old = kept_rows(folder)
    for codec, dataset in sorted(new):
        before, now = (
            {row["item"] for row in table if (row["codec"], row["dataset"]) == (codec, dataset)}
            for table in (old, rows)
        )
        if before - now:
            log.warning(
                "Results of %s on %s replace earlier ones; %s now: %d, before: %d.",
                *(codec, dataset, items, len(now), len(before)),
            )
    write_results(folder / RESULTS, [row for row in old if (row["codec"], row["dataset"]) not in new] + list(rows))


class GrowingTable:
    """Rows that are added to those of a run folder; written every so many seconds, and at the end whatever happens.

    Args:
        folder: the run folder.
        every: seconds between two writings, since one takes as long as the table.
    """

    def __init__(self, folder: Path, every: float) -> None:
        self.rows = kept_rows(folder)
        self._path, self._every = folder / RESULTS, every
        self._saved, self._unsaved = time.perf_counter(), False

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows of one item."""
        self.rows += rows
        self._unsaved = time.perf_counter() - self._saved < self._every
        if not self._unsaved:
            write_results(self._path, self.rows)
            self._saved = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unsaved:
            write_results(self._path, self.rows)
