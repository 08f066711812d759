"""A growing metrics.jsonl as curves: each line is read once, and memory does not grow with the file."""

from __future__ import annotations

import math
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.record.files import checked_path
from nic_lightning.runs.record.record import parse_line

MAX_POINTS = 2000
"""Of a curve; a longer one is thinned out."""
MAX_KEYS = 300
_MAX_METRICS = 2**30
_MAX_LINE = 2**20
_BUDGET = 2**24
_MARK = 256


@dataclass
class Series:
    """One metric over the steps: every `stride`-th value, and the newest. Values that are no number are NaN."""

    steps: array = field(default_factory=lambda: array("q"))
    times: array = field(default_factory=lambda: array("d"))
    values: array = field(default_factory=lambda: array("d"))
    stride: int = 1
    count: int = 0
    newest: tuple[int, float, float] = (0, math.nan, math.nan)

    def add(self, step: int, time: float, value: float) -> None:
        """One more value; where there would be too many, every other one goes."""
        self.newest = (step, time, value)
        if self.count % self.stride == 0:
            if len(self.steps) >= MAX_POINTS - 1:
                self.steps, self.times, self.values = self.steps[::2], self.times[::2], self.values[::2]
                self.stride *= 2
            if self.count % self.stride == 0:
                self.steps.append(step)
                self.times.append(time)
                self.values.append(value)
        self.count += 1

    def points(self) -> tuple[list[int], list[float], list[float]]:
        """Steps, times and values, at most MAX_POINTS of each, the newest always among them."""
        steps, times, values = self.steps.tolist(), self.times.tolist(), self.values.tolist()
        if self.count and (self.count - 1) % self.stride:
            step, time, value = self.newest
            steps, times, values = [*steps, step], [*times, time], [*values, value]
        return steps, times, values


class GrowingCurves:
    """The curves of one run folder, which follow its metrics.jsonl. `version` changes whenever `series` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        self.behind = 0
        """Bytes of the file that are still to be read."""
        self._forget()

    def poll(self, budget: int = _BUDGET) -> None:
        """Read what was added, `budget` bytes at most. A file that cannot be read, or is gone, leaves what is known.

        A resumed run cuts the file and writes on: then all is read again.
        """
        try:
            path = checked_path(self.folder, "metrics.jsonl", _MAX_METRICS)
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if not self._continues(file, facts):
                    self._forget()
                    self._inode = facts.st_ino
                    self.version += 1
                file.seek(self._offset)
                self._take(file.read(min(budget, max(facts.st_size - self._offset, 0))))
                self.behind = max(facts.st_size - self._offset, 0)
        except (RunError, OSError):
            return

    def _forget(self) -> None:
        self.series: dict[str, Series] = {}
        self._offset, self._inode, self._mark = 0, -1, b""

    def _continues(self, file: Any, facts: os.stat_result) -> bool:
        """Whether the file still begins with what was read of it, judged by the end of that: lines hold their time."""
        if facts.st_ino != self._inode or facts.st_size < self._offset:
            return False
        file.seek(self._offset - len(self._mark))
        return file.read(len(self._mark)) == self._mark

    def _take(self, data: bytes) -> None:
        """Whole lines; a cut one at the end waits for its rest, unless it is longer than any line."""
        end = data.rfind(b"\n") + 1
        if not end:
            end = len(data) if len(data) >= _MAX_LINE else 0
        if not end:
            return
        for raw in data[:end].splitlines(keepends=True):
            line = parse_line(raw) if len(raw) <= _MAX_LINE else None
            if line is not None and abs(line["step"]) < 2**53:
                self._add(line)
        self._offset += end
        self._mark = (self._mark + data[max(0, end - _MARK) : end])[-_MARK:]
        self.version += 1

    def _add(self, line: dict[str, Any]) -> None:
        time = line.get("time", math.nan)
        for key, value in line.items():
            if key in ("step", "epoch", "time"):
                continue
            key = key[:200]
            if key not in self.series and len(self.series) >= MAX_KEYS:
                continue
            number = value if math.isfinite(value) else math.nan
            self.series.setdefault(key, Series()).add(line["step"], time, number)
