"""What the selected runs have logged and measured, kept between requests and brought up to date by each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from nic_lightning.runs.index.growing_files import GrowingCurves
from nic_lightning.runs.index.index import Run

MAX_RUNS_DRAWN = 24
"""Runs whose curves are kept and drawn at once."""
MAX_TABLES = 64
Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values used last, `size` of them at most."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: OrderedDict[Any, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Value]) -> Value:
        """The value of `key`, made if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            value = self._values.setdefault(key, value)
            self._values.move_to_end(key)
            while len(self._values) > self.size:
                self._values.popitem(last=False)
        return value


class Live:
    """Curves and results of runs, by their ids."""

    def __init__(self) -> None:
        self._curves: Kept[GrowingCurves] = Kept(MAX_RUNS_DRAWN)
        self._tables: Kept[tuple[list[dict[str, Any]], list[str]]] = Kept(MAX_TABLES)
        self._polling = threading.Lock()

    def curves(self, folders: Mapping[str, Path]) -> dict[str, GrowingCurves]:
        """Curves of the runs, of the first MAX_RUNS_DRAWN, each after one look at its file."""
        with self._polling:  # two threads would read the same lines into one curve
            found = {key: self._curves.get(key, lambda f=folder: GrowingCurves(f)) for key, folder in _first(folders)}
            for curves in found.values():
                curves.poll()
        return found

    def rows(self, folders: Mapping[str, Path]) -> tuple[list[dict[str, Any]], list[str]]:
        """Results of the runs, every row with the run's id as its name; and what could not be read."""
        rows: list[dict[str, Any]] = []
        problems: list[str] = []
        for key, folder in folders.items():
            try:
                facts = (folder / "results.parquet").lstat()
            except OSError:
                continue
            run = Run(folder, key)
            signature = (key, facts.st_size, facts.st_mtime_ns, facts.st_ino)
            found = self._tables.get(signature, lambda run=run: (run.results(), run.problems))
            rows += found[0]
            problems += found[1]
        return rows, problems


def _first(folders: Mapping[str, Path]) -> list[tuple[str, Path]]:
    return list(folders.items())[:MAX_RUNS_DRAWN]
