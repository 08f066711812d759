"""SQL over run folders: what the tables hold, and what is left out of them."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.query import database, measured, tables
from nic_lightning.runs.query.database import tables_in
from nic_lightning.runs.query.tables import TABLES, VERSION
from nic_lightning.runs.record.results import write_results
from tests.runs.query_runs import make, query, rows

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("query") / "runs"
    make(root / "a", 8)
    make(root / "sweep" / "b", 16, accuracy=0.5)
    return root


def test_the_page_has_the_tables_that_there_are(shared: Path):
    text = PAGE.read_text()
    assert f"version {VERSION}." in text
    documented = {
        title: dict(re.findall(r"^\| `(\w+)` \| ([A-Z\[\]]+) \| \S", body, re.MULTILINE))
        for title, body in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    }
    assert documented == TABLES
    for limit in (f"{tables.MAX_VALUES:,} rows", f"{measured.MAX_ROWS:,} rows", f"{measured.MAX_COLUMNS} columns"):
        assert limit in text
    for name, columns in TABLES.items():
        found = {str(row[0]): row[1] for row in rows(shared, f"describe {name}")}
        assert {key: found[key] for key in columns} == columns
        assert set(found) - set(columns) == ({"accuracy"} if name == "results" else set())
    assert rows(shared, "select value from meta where key = 'schema_version'") == [(str(VERSION),)]
    assert {row[0] for row in rows(shared, "show tables")} == set(TABLES)


def test_tables_hold_what_the_runs_hold(shared: Path):
    (first, second) = query(shared, "select * from runs order by run").rows
    run = dict(zip(TABLES["runs"], first, strict=True))
    assert {
        key: run[key] for key in ("run", "name", "folder", "state", "steps", "max_steps", "codec", "tags", "problem")
    } == {
        "run": "runs/a",
        "name": "runs/a",
        "folder": str(shared / "a"),
        "state": "finished",
        "steps": 20,
        "max_steps": 20,
        "codec": "modulated",
        "tags": ["paper"],
        "problem": None,
    }
    assert math.isnan(run["loss"])
    assert second[0] == "runs/sweep/b"
    status = json.loads((shared / "a" / "status.json").read_text())
    assert rows(shared, "select strftime(ended, '%Y-%m-%dT%H:%M:%S+0000') from runs where run = 'runs/a'") == [
        (
            time.strftime(
                "%Y-%m-%dT%H:%M:%S+0000",
                time.gmtime(time.mktime(time.strptime(status["ended"][:19], "%Y-%m-%dT%H:%M:%S"))),
            ),
        )
    ]
    assert rows(
        shared, "select key, value from configs where run = 'runs/a' and (key like 'codec.%' or key = 'init_from')"
    ) == [
        ("codec._target_", "nic_lightning.codecs.modulated.Modulated"),
        ("codec.width", "8"),
        ("codec.name", "two words"),
        ("init_from", None),
    ]
    logged = rows(
        shared, "select step, key, isfinite(value), value from metrics where run = 'runs/a' order by step, key"
    )
    assert [line[:3] for line in logged] == [
        (9, "train/loss", True),
        (9, "val/psnr@64", True),
        (19, "train/loss", False),
        (19, "val/psnr@64", True),
    ]
    assert logged[3][3] == 49.0
    first_time = json.loads((shared / "a" / "metrics.jsonl").read_text().splitlines()[0])["time"]
    assert rows(shared, "select min(time) from metrics where run = 'runs/a'") == [(first_time,)]


def test_tables_join(shared: Path):
    sql = """
        select c.value, avg(bpp), sum(bytes), max(accuracy), any_value(m.value)
        from results r join configs c using (run) join runs on runs.name = r.run join metrics m on m.run = r.run
        where c.key = 'codec.width' and m.step = 9 and m.key = 'train/loss' group by all order by 1
    """
    assert rows(shared, sql) == [("16", 2.0, 2**41, 0.5, 2.0), ("8", 2.0, 2**41, None, 2.0)]


def test_only_named_tables_are_read(shared: Path, monkeypatch: pytest.MonkeyPatch):
    assert tables_in('select "RUNS".name from Runs, (from configs)') == {"runs", "configs"}
    assert tables_in("from query_table('run' || 's')") == set(TABLES)
    monkeypatch.setattr(database, "read_run", None)
    assert rows(shared, "select count(*) from results") == [(4,)]
    with pytest.raises(TypeError):
        query(shared, "select 1 from configs")


def test_damaged_runs_are_named_and_left_out(tmp_path: Path):
    root = tmp_path / "runs"
    for name in ("sound", "cut", "wrong", "letters", "linked", "odd"):
        make(root / name)
    path = root / "cut" / "results.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    pq.write_table(pa.table({"bpp": ["much"]}), root / "wrong" / "results.parquet")
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"dataset": text}), root / "letters" / "results.parquet")
    (root / "linked" / "results.parquet").unlink()
    (root / "linked" / "results.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    write_results(tmp_path / "elsewhere.parquet", [{"bpp": 7.0}])
    (root / "odd" / "config.yaml").write_text("a: &a [1]\nb: *a")
    (root / "odd" / "metrics.jsonl").write_text(
        '{"step": 1, "\\ud800": 1}\n{"step": 1' + "0" * 30 + ', "a": 1}\n{"step": 3, "b"\n'
    )
    answer = query(root, "select distinct run from results order by 1")
    assert answer.rows == [("runs/odd",), ("runs/sound",)]
    assert [problem.split(":")[0] for problem in answer.problems] == [
        "runs/cut",
        "runs/letters",
        "runs/linked",
        "runs/wrong",
    ]
    answer = query(
        root, "select count(distinct configs.run), (select count(*) from runs where state = 'damaged') from configs"
    )
    assert (answer.rows, answer.problems) == ([(5, 1)], ["runs/odd: config.yaml is damaged."])
    assert query(root, "select step, key, value from metrics where run = 'runs/odd'").rows == [(1, "?", 1.0)]


def test_zero_bytes_and_half_files_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "runs"
    make(root / "a", **{"x": 1.0, "x\0y": 2.0, "": 3.0})
    (root / "a" / "config.yaml").write_text('"k\\0l": "v\\0w"\ntags: ["t\\0u"]')
    assert query(root, "select key, value from configs where value like 'v%'").rows == [("k\0l", "v\0w")]
    assert query(root, "select tags from runs").rows == [(["t\0u"],)]
    assert query(root, "select columns('^x') from results").columns == ["x"]
    make(root / "b")
    lines = tables.metric_lines

    def torn(folder: Path):
        yield from lines(folder)
        if folder.name == "a":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(tables, "metric_lines", torn)
    answer = query(root, "select run, count(*) from metrics group by run")
    assert (answer.rows, answer.problems) == ([("runs/b", 4)], ["runs/a: [Errno 5] Input/output error"])


def test_columns_of_several_types_and_spellings_become_one(tmp_path: Path):
    root = tmp_path / "runs"
    make(root / "a", Note=1, mixed=1, flag=True, PSNR=5.0)
    make(root / "b", note=2.5, mixed="two", flag=False)
    answer = query(root, "select run, Note, mixed, flag, psnr from results where bpp = 1 order by run")
    assert answer.rows == [("runs/a", 1.0, "1", True, None), ("runs/b", 2.5, "two", False, None)]


def test_tables_have_a_largest_size(shared: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measured, "MAX_ROWS", 3)
    monkeypatch.setattr(tables, "MAX_VALUES", 3)
    for sql in ("from results", "from metrics"):
        with pytest.raises(RunError, match=r"more than 3 .*--root"):
            query(shared, sql)
    monkeypatch.setattr(measured, "MAX_ROWS", 100)
    monkeypatch.setattr(measured, "MAX_COLUMNS", len(TABLES["results"]))
    answer = query(shared, "select distinct run from results")
    assert (answer.rows, len(answer.problems)) == ([("runs/a",)], 1)


def test_without_duckdb_a_sentence_says_how_to_install_it(shared: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (None, SimpleNamespace(DuckDBPyRelation=object)):
        monkeypatch.setitem(sys.modules, "duckdb", module)
        with pytest.raises(UserError, match=re.escape("pip install 'nic_lightning[sql]'")):
            query(shared, "select 1")


def test_a_folder_without_runs_is_named(tmp_path: Path):
    with pytest.raises(RunError, match="does not exist"):
        query(tmp_path / "none", "from runs")
    with pytest.raises(RunError, match="holds no run"):
        query(tmp_path, "from runs")
    assert not os.listdir(tmp_path)
