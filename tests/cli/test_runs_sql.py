"""`nic runs sql`: what it prints, and its mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.runs.record.record import RunRecord, to_yaml


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, loss in (("first", 12.25), ("second", 1.123456789)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(to_yaml({"tags": ["a,b", name], "trainer": {"max_steps": 4}}))
        record = RunRecord(folder)
        record.log(1200, {"train/loss": loss})
        record.finish("finished")
    return tmp_path / "runs"


def test_a_table(runs: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["runs", "sql", "select name, steps, loss, codec, 'a\nb\x1b' as t from runs order by loss"]) == 0
    assert capsys.readouterr() == (
        "name         steps    loss  codec  t\n"
        "runs/second   1201  1.1235      -  a?b?\n"
        "runs/first    1201   12.25      -  a?b?\n",
        "",
    )
    assert cli.main(["runs", "sql", "select name from runs where steps = 0", "--root", str(runs)]) == 0
    assert capsys.readouterr().out == "name\n"


def test_json_and_csv(runs: Path, capsys: pytest.CaptureFixture[str]):
    query = """select name, loss, tags, codec, sum(steps) over () as "all", 1.5 as d, 'inf'::float as i, '\\x0A'::blob
        as b, date '2026-01-02' as day, {'a': [1]} as s from runs order by name"""
    assert cli.main(["runs", "sql", query, "--json", "--limit", "1"]) == 0
    out, said = capsys.readouterr()
    assert json.loads(out) == [
        {
            "name": "runs/first",
            "loss": 12.25,
            "tags": ["a,b", "first"],
            "codec": None,
            "all": 2402,
            "d": 1.5,
            "i": "inf",
            "b": "0a",
            "day": "2026-01-02",
            "s": {"a": [1]},
        }
    ]
    assert said == "There are more rows than 1; --limit N shows up to 100,000.\n"
    assert cli.main(["runs", "sql", "select name, loss, tags, codec from runs order by name", "--csv"]) == 0
    assert list(csv.reader(capsys.readouterr().out.splitlines())) == [
        ["name", "loss", "tags", "codec"],
        ["runs/first", "12.25", '["a,b", "first"]', ""],
        ["runs/second", "1.123456789", '["a,b", "second"]', ""],
    ]


def test_damaged_runs_are_named_on_the_error_stream(runs: Path, capsys: pytest.CaptureFixture[str]):
    for number in range(12):
        (runs / f"x{number:02}").mkdir()
        (runs / f"x{number:02}" / "results.parquet").write_text("cut")
    assert cli.main(["runs", "sql", "select count(*) as n from results"]) == 0
    out, said = capsys.readouterr()
    assert out == "n\n0\n"
    lines = said.splitlines()
    assert (len(lines), lines[-1]) == (11, "2 problems more of runs.")
    assert lines[0].startswith("runs/x00: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["drop table runs"], "no SELECT"),
        (["select * from run"], "there are: meta, runs, configs, metrics, results"),
        (["select 1", "--root", "nowhere"], "nowhere does not exist"),
        (["select 1", "--limit", "0"], "--limit"),
        (["select 1", "--limit", "1000001"], "--limit"),
        (["select 1", "--timeout", "0"], "--timeout"),
        (["select 1", "--timeout", "nan"], "--timeout"),
        (["select 1", "--json", "--csv"], "not allowed with"),
        (["select count(*) from range(1000000000000)", "--timeout", "0.2"], "took longer than 0.2 s"),
        ([], "QUERY"),
    ],
)
def test_mistakes_are_one_sentence(runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str):
    try:
        code = cli.main(["runs", "sql", *arguments])
    except SystemExit as stop:
        code = stop.code
    out, error = capsys.readouterr()
    assert (code, out) == (2, "")
    assert said in error
    assert "Traceback" not in error
