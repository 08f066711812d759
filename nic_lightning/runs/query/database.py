"""One SQL query over run folders, in a database in memory that can reach no file, no network and no extension."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nic_lightning.errors import UserError, choices
from nic_lightning.runs.index.index import Run, find_runs, read_run
from nic_lightning.runs.query.tables import TABLES, read_table

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY = "2GB"
"""Of the database, its tables included. It writes nothing to disk."""
MAX_ANSWER = 64 * 2**20
"""Bytes of all rows of an answer."""
_BATCH = 2048
_GRACE = 2.0
"""Seconds that an interrupted query has to end by itself; some functions do not look up."""
_SETTINGS = {
    "memory_limit": MEMORY,
    "temp_directory": "",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_READ_WHOLE = ("runs", "configs")
"""Tables that take more of a run than its name and folder."""
_ANY_TABLE = re.compile(r"\b(query|query_table|information_schema|duckdb_\w+|pragma\w*|sqlite_\w+|show)\b", re.I)
"""Words by which a query may reach a table without its name."""


@dataclass
class Answer:
    """Rows of a query, at most as many as were asked for. `more` says that there were further ones."""

    columns: list[str]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    more: bool = False
    problems: list[str] = field(default_factory=list)
    """What is wrong with runs, a sentence each; what could not be read of them is missing in the tables."""


def ask(sql: str, root: str | Path, limit: int, timeout: float) -> Answer:
    """What one SELECT gives over the tables of `tables.TABLES`, filled from the runs at or below `root`.

    Only tables that the query names are read. It runs in a read-only transaction of a database in memory, without
    access to files, extensions or settings, within `timeout` seconds, reading included.

    Raises:
        UserError: duckdb is missing, the query is wrong, no SELECT, or takes too much time or memory.
        RunError: there is no run, or more than the tables may hold.
    """
    _duckdb()
    ends = time.monotonic() + timeout
    late = UserError(f"The query took longer than {timeout:g} s; ask for less, or give --timeout SECONDS.")

    def tick() -> None:
        if time.monotonic() > ends:
            raise late

    connection = _empty()
    statement = _one_select(connection, sql)
    wanted = tables_in(sql)
    runs = find_runs([root], _reader(wanted, tick))
    for name in TABLES:
        tick()
        _fill(connection, name, runs if name in wanted else [], tick)
    _close_off(connection)
    answer = _within(connection, lambda: _rows(connection, statement, limit), ends, late)
    answer.problems = list(dict.fromkeys(problem for run in runs for problem in run.problems))
    return answer


def tables_in(sql: str) -> set[str]:
    """Tables that a query may name; all of them where it looks names up."""
    if _ANY_TABLE.search(sql):
        return set(TABLES)
    return {name for name in TABLES if re.search(rf"\b{name}\b", sql, re.IGNORECASE)}


def _duckdb() -> Any:
    missing = UserError("SQL over runs needs the package duckdb, 2 or newer: pip install 'nic_lightning[sql]'.")
    try:
        import duckdb
    except ImportError as error:
        raise missing from error
    if not hasattr(duckdb.DuckDBPyRelation, "to_arrow_reader"):  # older ones hold whole results in memory
        raise missing
    return duckdb


def _empty() -> Any:
    return _duckdb().connect(":memory:", config=_SETTINGS)


def _one_select(connection: Any, sql: str) -> Any:
    duckdb = _duckdb()
    try:
        statements = connection.extract_statements(sql.encode().decode())  # half a character is an error
    except (duckdb.Error, UnicodeError) as error:
        raise _mistake(error) from error
    if len(statements) != 1:
        raise UserError(f"A query is one statement, not {len(statements)}; write one SELECT.")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        raise UserError(f"Queries only read, and this is no SELECT but {'a PIVOT' if kind == 'MULTI' else kind}.")
    return statements[0]


def _reader(wanted: set[str], tick: Callable[[], None]) -> Callable[[Path, str], Run]:
    """How runs are read: as little of them as the tables take."""
    read = read_run if wanted & set(_READ_WHOLE) else Run

    def timed(folder: Path, name: str) -> Run:
        tick()
        return read(folder, name)

    return timed


def _fill(connection: Any, name: str, runs: Sequence[Run], tick: Callable[[], None]) -> None:
    """Make a table, a copy: the query then holds no pointer into memory of ours."""
    duckdb = _duckdb()
    connection.register("_read", read_table(name, runs, tick))
    try:
        connection.execute(f'create table "{name}" as select * from _read')
    except duckdb.OutOfMemoryException as error:
        raise _too_much() from error
    finally:
        connection.unregister("_read")


def _close_off(connection: Any) -> None:
    """From here on nothing outside can be reached, nor anything changed, and no setting be taken back."""
    connection.execute("set enable_external_access=false")
    connection.execute("set lock_configuration=true")
    connection.execute("begin transaction read only")


def _within(connection: Any, work: Callable[[], Answer], ends: float, late: UserError) -> Answer:
    """Run `work` in a thread until time is over. What does not end even then ends with the process."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0.0, ends - time.monotonic()))
    if thread.is_alive():
        connection.interrupt()
        thread.join(_GRACE)
        raise late
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _rows(connection: Any, statement: Any, limit: int) -> Answer:
    import pyarrow as pa

    duckdb = _duckdb()
    try:
        reader = connection.sql(statement).to_arrow_reader(_BATCH)
        answer = Answer(_distinct(reader.schema.names))
        size = 0
        for batch in reader:
            kept = batch.slice(0, limit - len(answer.rows))
            size += kept.nbytes
            if size > MAX_ANSWER:
                raise UserError(f"The answer is larger than {MAX_ANSWER:,} bytes; select fewer columns or rows.")
            answer.rows += _python(kept)
            if len(kept) < len(batch):
                answer.more = True
                break
        return answer
    except duckdb.OutOfMemoryException as error:
        raise _too_much() from error
    except (duckdb.Error, pa.ArrowException) as error:
        raise _mistake(error) from error


def _python(batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(column.to_pylist())
        except (ValueError, OverflowError) as error:
            raise UserError(
                f"The column {name!r} holds a value that is shown as text only: cast it: {name}::text."
            ) from error
    return list(zip(*columns, strict=True))


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of columns; those that repeat an earlier one get its number: run, run_2."""
    made: list[str] = []
    for name in names:
        number, new = 1, name
        while new in made:
            number += 1
            new = f"{name}_{number}"
        made.append(new)
    return made


def _too_much() -> UserError:
    return UserError(
        f"The query takes more than {MEMORY} of memory; ask for less, or give a folder of fewer runs with --root."
    )


def _mistake(error: Exception) -> UserError:
    """The first line of DuckDB's message, and what it offers for a name that it does not know."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[0].split()).rstrip("!.")[:400]
    table = re.search(r"Table with name (\S+) does not exist", said)
    offered = choices(table[1], TABLES) if table else next((x for x in lines if x.startswith("Candidate bindings")), "")
    return UserError(f"The query cannot be run: {'; '.join(filter(None, [said, offered[:400]]))}.")
