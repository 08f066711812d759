"""The results of many runs as one table, column by column. No torch needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.files import checked_path
from nic_lightning.runs.record.results import MAX_BYTES, MAX_ROWS, RESULT_COLUMNS, read_results_table

if TYPE_CHECKING:
    import pyarrow as pa

MAX_COLUMNS = 500
"""Of the results of all runs together."""
_OWN = {name.lower(): name for name in RESULT_COLUMNS}


def results_table(runs: Sequence[Run], tick: Callable[[], None]) -> pa.Table:
    """Rows of results.parquet of all runs; the columns are RESULT_COLUMNS and then all others that runs have.

    A column that runs give different types is a number where all of them are numbers, and text otherwise. Names are
    compared without regard to case, as in SQL. A run that is damaged is left out, and says so in its problems.

    Raises:
        RunError: the runs hold more rows or bytes than one table may.
    """
    import pyarrow as pa

    tables: list[pa.Table] = []
    spelled = dict(_OWN)
    rows = size = 0
    for run in runs:
        tick()
        try:
            table = _read(run, spelled)
        except RunError as error:
            run.add_problem(error)
            continue
        if table is None:
            continue
        tables.append(table)
        rows, size = rows + table.num_rows, size + table.nbytes
        if rows > MAX_ROWS or size > MAX_BYTES:
            raise RunError(
                f"These runs hold more than {MAX_ROWS:,} rows or {MAX_BYTES:,} bytes of results; "
                "give a folder of fewer with --root."
            )
    kinds = _kinds(tables)
    fitted = [_fitted(table, kinds) for table in tables]
    empty = pa.schema(list(kinds.items())).empty_table()
    return pa.concat_tables(
        [empty, *fitted], promote_options="default"
    ).combine_chunks()  # DuckDB reads it five times as fast


def _read(run: Run, spelled: dict[str, str]) -> pa.Table | None:
    """The run's table under the spellings that are known; new ones are added. None where it measured nothing."""
    import pyarrow as pa

    if not os.path.lexists(run.folder / "results.parquet"):
        return None
    path = checked_path(run.folder, "results.parquet", MAX_BYTES)
    table = read_results_table(path)
    try:
        table.validate(full=True)  # text that is no UTF-8
    except pa.ArrowException as error:
        raise RunError(f"{path} is not a readable results table: {str(error).splitlines()[0][:200]}") from error
    kept: dict[str, str] = {}  # names with control characters go: DuckDB reads them up to a zero byte
    for name in table.column_names:
        if name and name.isprintable():
            kept.setdefault(name.lower(), name)
    kept.pop("run", None)
    new = {lower: name for lower, name in kept.items() if lower not in spelled}
    if len(spelled) + len(new) > MAX_COLUMNS:
        raise RunError(f"{path} would bring the results of all runs to more than {MAX_COLUMNS} columns.")
    spelled |= new
    table = table.select(list(kept.values())).rename_columns([spelled[lower] for lower in kept])
    name = run.name.encode("utf-8", "replace").decode()
    return table.append_column("run", pa.repeat(name, len(table)))


def _kinds(tables: Iterable[pa.Table]) -> dict[str, pa.DataType]:
    """Column -> type, those of RESULT_COLUMNS first."""
    import pyarrow as pa

    seen: dict[str, set[pa.DataType]] = {}
    for schema in {table.schema: None for table in tables}:
        for field in schema:
            if field.name not in RESULT_COLUMNS:
                seen.setdefault(field.name, set()).add(field.type)
    return {name: pa.type_for_alias(kind) for name, kind in RESULT_COLUMNS.items()} | {
        name: _common(kinds) for name, kinds in seen.items()
    }


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    import pyarrow as pa

    if all(pa.types.is_boolean(kind) for kind in kinds):
        return pa.bool_()
    if all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in kinds):
        return pa.int64()
    if all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds):
        return pa.float64()
    return pa.string()


def _fitted(table: pa.Table, kinds: dict[str, pa.DataType]) -> pa.Table:
    import pyarrow as pa

    target = pa.schema([pa.field(name, kinds[name]) for name in table.column_names])
    return table if table.schema.equals(target) else table.cast(target, safe=False)
