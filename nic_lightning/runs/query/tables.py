"""Tables of run folders for SQL: which there are, and how they are read. docs/storage.md describes them."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.index.overview import overview
from nic_lightning.runs.index.summary import flat
from nic_lightning.runs.query.measured import results_table
from nic_lightning.runs.record.record import metric_lines
from nic_lightning.runs.record.results import RESULT_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Of the tables below; it rises when a column or table goes, or means something else."""
_OF_RESULTS = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE"}
TABLES: dict[str, dict[str, str]] = {
    "meta": {"key": "VARCHAR", "value": "VARCHAR"},
    "runs": {
        "run": "VARCHAR",
        "name": "VARCHAR",
        "folder": "VARCHAR",
        "state": "VARCHAR",
        "started": "TIMESTAMP",
        "ended": "TIMESTAMP",
        "steps": "BIGINT",
        "max_steps": "BIGINT",
        "loss": "DOUBLE",
        "codec": "VARCHAR",
        "tags": "VARCHAR[]",
        "problem": "VARCHAR",
    },
    "configs": {"run": "VARCHAR", "key": "VARCHAR", "value": "VARCHAR"},
    "metrics": {"run": "VARCHAR", "step": "BIGINT", "time": "DOUBLE", "key": "VARCHAR", "value": "DOUBLE"},
    "results": {name: _OF_RESULTS[kind] for name, kind in RESULT_COLUMNS.items()},
}
"""Table -> column -> SQL type. `results` has further columns where runs have written them."""
MAX_VALUES = 10_000_000
"""Rows of `metrics`: 32 bytes each while they are read."""
MAX_KEYS = 300
"""Of one run's metrics, as in the dashboard."""
Tick = Callable[[], None]
"""Called between runs; raises where time is over."""


def read_table(name: str, runs: Sequence[Run], tick: Tick) -> pa.Table:
    """One of TABLES, of the runs. What is damaged in a run is left out, and added to its problems.

    `runs` must have been read by `read_run` for the tables "runs" and "configs"; for the others, name and folder do.

    Raises:
        RunError: the runs hold more than a table may.
    """
    if name == "results":
        return results_table(runs, tick)
    if name == "metrics":
        return _metrics(runs, tick)
    rows: list[Sequence[Any]] = []
    if name == "meta":
        rows.append(("schema_version", str(VERSION)))
    for run in runs if name != "meta" else ():
        tick()
        rows += [_run_row(run)] if name == "runs" else _config_rows(run)
    return _arrow(name, zip(*rows, strict=True) if rows else [[]] * len(TABLES[name]))


def _run_row(run: Run) -> tuple[Any, ...]:
    line, status = overview(run), run.status or {}
    return (
        *map(_clean, (line.name, line.name, line.folder, line.state)),
        *(_utc(status.get(key)) for key in ("started", "ended")),
        *(line.step, line.max_steps, line.loss, line.codec and _clean(line.codec)),
        [_clean(tag) for tag in line.tags],
        line.problem and _clean(line.problem),
    )


def _config_rows(run: Run) -> list[tuple[Any, ...]]:
    name = _clean(run.name)
    return [(name, _clean(key), _as_text(value)) for key, value in flat(run.config or {}).items()]


def _as_text(value: str) -> str | None:
    """Of a value as JSON: text without quotes, null as NULL, all else as it is."""
    if value == "null":
        return None
    try:
        return _clean(json.loads(value)) if value.startswith('"') else value
    except ValueError:
        return value[1:]  # cut where it was too long


def _utc(text: Any) -> datetime | None:
    """A time of status.json in UTC, without a zone; None for what is none."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
        return moment.astimezone(UTC).replace(tzinfo=None)
    except (TypeError, ValueError, OverflowError):
        return None


def _metrics(runs: Sequence[Run], tick: Tick) -> pa.Table:
    """All values of metrics.jsonl: columns of numbers, run and key as numbers of names, so that memory is bounded."""
    import numpy as np
    import pyarrow as pa

    columns = {name: array(kind) for name, kind in zip(TABLES["metrics"], "iqdid", strict=True)}
    keys: dict[str, int] = {}
    for number, run in enumerate(runs):
        before = len(columns["run"])
        try:
            _add_metrics(columns, keys, number, run, tick)
        except (RunError, OSError) as error:
            if len(columns["run"]) > MAX_VALUES:
                raise
            for column in columns.values():
                del column[before:]
            run.add_problem(error)
    names = {"run": [_clean(run.name) for run in runs], "key": [_clean(key) for key in keys]}
    made = {}
    for name, values in columns.items():
        numbers = pa.array(np.frombuffer(values, dtype=values.typecode))
        made[name] = pa.DictionaryArray.from_arrays(numbers, pa.array(names[name])) if name in names else numbers
    return pa.table(made)


def _add_metrics(columns: dict[str, array], keys: dict[str, int], number: int, run: Run, tick: Tick) -> None:
    if not os.path.lexists(run.folder / "metrics.jsonl"):
        return
    own: set[str] = set()
    for count, line in enumerate(metric_lines(run.folder)):
        if count % 1000 == 0:
            tick()
        if abs(line["step"]) >= 2**53:
            continue
        for key, value in line.items():
            if key in ("step", "epoch", "time") or (key not in own and len(own) >= MAX_KEYS):
                continue
            own.add(key)
            row = (number, line["step"], line.get("time", float("nan")), keys.setdefault(key[:200], len(keys)), value)
            for column, cell in zip(columns.values(), row, strict=True):
                column.append(cell)
        if len(columns["run"]) > MAX_VALUES:
            raise RunError(
                f"These runs have logged more than {MAX_VALUES:,} values; give a folder of fewer with --root."
            )


def _arrow(name: str, columns: Iterable[Sequence[Any]]) -> pa.Table:
    import pyarrow as pa

    kinds = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "TIMESTAMP": pa.timestamp("us"),
        "VARCHAR[]": pa.list_(pa.string()),
    }
    typed = zip(TABLES[name].items(), columns, strict=True)
    return pa.table({column: pa.array(values, type=kinds[kind]) for (column, kind), values in typed})


def _clean(text: str) -> str:
    """Text that can be written as UTF-8: JSON and names of files may hold halves of characters."""
    return text.encode("utf-8", "replace").decode()
