"""Run folders for a report: read once, named apart, and what is wrong with them reported. No torch needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError, counted
from nic_lightning.media.base import find_medium
from nic_lightning.report.curves.curve import TIMES
from nic_lightning.report.curves.curves import told_apart
from nic_lightning.runs.index.index import MARKS, Run, about_links, find_runs, rename, run_folders
from nic_lightning.runs.index.overview import steps_done
from nic_lightning.runs.record.channels import read_channel_rates
from nic_lightning.runs.record.distances import read_distances
from nic_lightning.runs.record.files import checked_path

_MAX_LOG = 2**28


@dataclass
class Source:
    """A run with what its files hold."""

    run: Run
    rows: list[dict[str, Any]]
    """Of the results table, each with the run's name in this report as "run"."""
    log: list[dict[str, Any]]
    channels: list[dict[str, Any]]
    distances: list[dict[str, Any]] = field(default_factory=list)

    @property
    def steps(self) -> int | None:
        """Finished optimiser steps, as `nic runs list` tells them."""
        return steps_done(self.run.status or {}, self.log[-1] if self.log else {})


@dataclass
class Sources:
    """All runs of a report."""

    all: list[Source]
    problems: list[str] = field(default_factory=list)
    """About folders that hold no run; a run's own are in `run.problems`."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of all runs."""
        return [dict(row) for row in told_apart(row for source in self.all for row in source.rows)]

    @property
    def runs(self) -> list[Run]:
        """The runs, in order."""
        return [source.run for source in self.all]


def read_sources(paths: Iterable[str | Path]) -> Sources:
    """Everything a report shows of the runs at or below `paths`.

    Raises:
        RunError: a path does not exist, or none of them holds a run.
    """
    listed = [Path(path) for path in paths]
    empty = [path for path in listed if path.exists() and not run_folders(path)]
    runs = find_runs(path for path in listed if path not in empty or len(empty) == len(listed))
    _shorten_names(runs)
    problems = [f"{path} holds no run: no folder with a {MARKS[0]}, {MARKS[1]} or {MARKS[2]}." for path in empty]
    return Sources([_read(run) for run in runs], problems + about_links(listed))


def _read(run: Run) -> Source:
    rows = run.results()
    media = [find_medium(name) for name in dict.fromkeys(row.get("medium") for row in rows)]
    for key in dict.fromkeys(key for one in media for key in (*one.rates, *one.measured, *TIMES)):
        count = sum(isinstance(row.get(key), float) and math.isnan(row[key]) for row in rows)
        if count:
            run.add_problem(f"{key} is not a number in {count} of {len(rows)} rows of results.parquet.")
    log = run.metrics()
    _check_log(run, log)
    return Source(run, rows, log, _read_file(run, read_channel_rates), _read_file(run, read_distances))


def _read_file(run: Run, read: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a file of the run holds; nothing where it is damaged, which is reported."""
    try:
        return read(run.folder)
    except RunError as error:
        run.add_problem(error)
        return []


def _check_log(run: Run, log: Sequence[dict[str, Any]]) -> None:
    """Report lines that are no lines, and of values that are no numbers."""
    try:
        path = checked_path(run.folder, "metrics.jsonl", _MAX_LOG)
        with path.open("rb") as file:
            ends = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))
    except (RunError, OSError):
        return  # missing, or reported by run.metrics()
    if not log:
        run.add_problem("metrics.jsonl holds no line that can be read.")
    elif ends > len(log):
        run.add_problem(f"Left out {ends - len(log)} of {counted(ends, 'line')} of metrics.jsonl: damaged.")
    bad = {key: line["step"] for line in reversed(log) for key, value in line.items() if _is_bad(value)}
    for key, step in list(bad.items())[:3]:
        run.add_problem(f"{key[:80]} is not finite at step {step}.")


def _is_bad(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _shorten_names(runs: Sequence[Run]) -> None:
    """Leave out the folders that the names of all runs begin with."""
    while len(runs) > 1 and len(tops := {run.name.partition("/")[0] for run in runs}) == 1 and not tops & _names(runs):
        for run in runs:
            rename(run, run.name.partition("/")[2])


def _names(runs: Iterable[Run]) -> set[str]:
    return {run.name for run in runs}
