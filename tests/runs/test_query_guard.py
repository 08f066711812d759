"""What a query cannot do: write, leave its tables, run for ever, take all memory, give endless answers."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pyarrow as pa
import pytest

from nic_lightning.errors import UserError
from nic_lightning.runs.query import database
from tests.runs.query_runs import make, query


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("query") / "runs"
    make(root / "a", 8)
    make(root / "sweep" / "b", 16, accuracy=0.5)
    return root


REFUSED = {
    "disabled by configuration": [
        "from read_text('{inside}')",
        "from read_csv('{inside}')",
        "from read_parquet('{results}')",
        "from glob('{root}/*')",
        "from '{inside}'",
        "select * from query('from read_text(''{inside}'')')",
        "from duckdb_extensions()",
        "from read_text('file://{inside}')",
    ],
    "Table with name .* does not exist; there are: meta, runs": ["from local_table"],
    "read-only": [
        "with x as (delete from runs returning *) select * from x",
        "with x as (insert into meta values ('a', 'b') returning *) select * from x",
        "with x as (update runs set name = '' returning *) select * from x",
    ],
    "locked": ["select * from enable_logging('QueryLog', storage := 'file', storage_path := '{root}/log')"],
    "no SELECT": [
        "copy runs to '{root}/copy.csv'",
        "attach '{root}/other.db'",
        "export database '{root}/exported'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "reset lock_configuration",
        "create table mine as select 1",
        "drop table runs",
        "insert into meta values ('a', 'b')",
        "explain analyze select 1",
        "begin transaction",
        "prepare it as select 1",
        "pivot metrics on key using max(value)",
    ],
    "one statement": ["select 1; select 2", "select 1; drop table runs", "", "-- nothing"],
    "cannot be run": ["selec 1", "select \udc80", "select ?"],
    'not found in FROM clause; Candidate bindings: .*"name"': ["select nam from runs"],
}


@pytest.mark.parametrize(("sql", "reason"), [(sql, reason) for reason, queries in REFUSED.items() for sql in queries])
def test_a_query_only_reads_the_tables(shared: Path, sql: str, reason: str):
    local_table = pa.table({"a": [1]})
    before = sorted((path, path.stat().st_mtime_ns) for path in shared.rglob("*"))
    places = {"root": shared, "inside": shared / "a" / "status.json", "results": shared / "a" / "results.parquet"}
    with pytest.raises(UserError, match=reason) as caught:
        query(shared, sql.format(**places))
    assert re.fullmatch(r"[AQT][^\n]{10,900}[^!?.]\.", str(caught.value))
    assert sorted((path, path.stat().st_mtime_ns) for path in shared.rglob("*")) == before
    assert local_table.num_rows == 1


def test_settings_hold_while_a_query_runs(shared: Path):
    wanted = {
        "enable_external_access": False,
        "lock_configuration": True,
        "autoload_known_extensions": False,
        "autoinstall_known_extensions": False,
        "temp_directory": "",
        "threads": 2,
    }
    asked = ", ".join(f"current_setting('{name}') as {name}" for name in wanted)
    answer = query(shared, f"select {asked}, current_setting('memory_limit')")
    assert dict(zip(answer.columns, answer.rows[0][:-1], strict=False)) == wanted
    assert str(answer.rows[0][-1]).startswith("1.8 GiB")


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) from range(1000000000000)",
        "with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t",
        "select a.range from range(1000000) a, range(1000000) b where a.range + b.range = -1",
    ],
)
def test_a_long_query_ends(shared: Path, sql: str):
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^The query took longer than 0\.3 s; .* --timeout"):
        query(shared, sql, timeout=0.3)
    assert time.monotonic() - start < 0.3 + database._GRACE + 5


def test_time_counts_while_runs_are_read(shared: Path):
    for sql in ("from runs", "from metrics", "from results"):
        with pytest.raises(UserError, match="--timeout"):
            query(shared, sql, timeout=1e-9)


def test_memory_is_bounded(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(database._SETTINGS, "memory_limit", "60MB")
    with pytest.raises(UserError, match="of memory"):
        query(shared, "select list(range) from range(100000000)")
    monkeypatch.setattr(database, "MAX_ANSWER", 10_000)
    assert len(query(shared, "select range from range(1000000000)").rows) == 100
    with pytest.raises(UserError, match=r"larger than 10,000 bytes"):
        query(shared, "select repeat('x', 1000) from range(100)")


def test_rows_are_limited(shared: Path):
    answer = query(shared, "select range from range(1000000000000)", limit=3000)
    assert (len(answer.rows), answer.rows[-1], answer.more) == (3000, (2999,), True)
    for count in (0, 3000):
        answer = query(shared, f"select range from range({count})", limit=3000)
        assert (len(answer.rows), answer.more) == (count, False)
    answer = query(shared, "select 1 as a, 2 as a, 3 as a_2, 4 as a")
    assert (answer.columns, answer.rows) == (["a", "a_2", "a_2_2", "a_3"], [(1, 2, 3, 4)])
    with pytest.raises(UserError, match=r"'d'.*d::text"):
        query(shared, "select '290000-01-01'::timestamp as d")
