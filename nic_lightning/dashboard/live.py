"""What the selected runs have logged and measured, kept between requests and brought up to date by each."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from nic_lightning.runs.index.growing_files import Tail
from nic_lightning.runs.index.index import Run

MAX_TAILS = 24
"""Runs whose curves are kept; more than are drawn at once."""
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
        self._tails: Kept[Tail] = Kept(MAX_TAILS)
        self._tables: Kept[tuple[list[dict[str, Any]], list[str]]] = Kept(MAX_TABLES)
        self._polling = threading.Lock()

    def tails(self, folders: Mapping[str, Path]) -> dict[str, Tail]:
        """The runs' tails, the first MAX_TAILS, each after one look at its file."""
        with self._polling:  # a tail is no place for two threads
            tails = {key: self._tails.get(key, lambda f=folder: Tail(f)) for key, folder in _first(folders)}
            for tail in tails.values():
                tail.poll()
        return tails

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
    return list(folders.items())[:MAX_TAILS]
