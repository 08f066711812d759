"""The upload of offline records, with a stand-in for W&B's program: it notes its arguments and marks what it got."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.runs.loggers.offline import waiting
from nic_lightning.runs.machine.process import this_process
from nic_lightning.runs.record.record import RunRecord

STAND_IN = """#!{python}
import json, pathlib, sys
with open({notes!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "fails" in sys.argv[2]:
    sys.exit(3)
for folder in sys.argv[2:]:
    (record,) = pathlib.Path(folder).glob("*.wandb")
    pathlib.Path(str(record) + ".synced").touch()
"""


def record(folder: Path, stamp: str, name: str = "ab12") -> Path:
    made = folder / "wandb" / f"offline-run-{stamp}-{name}"
    made.mkdir(parents=True)
    (made / f"run-{name}.wandb").write_bytes(b"x")
    return made


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Two runs, one of them started three times, and a `wandb` that writes to notes.jsonl."""
    for name in ("one", "two"):
        RunRecord(tmp_path / "runs" / name).start({}, [])
        RunRecord(tmp_path / "runs" / name).finish("finished")
    for stamp in ("20260102_000000", "20251231_235959", "20260101_120000"):
        record(tmp_path / "runs" / "one", stamp)
    program = tmp_path / "bin" / "wandb"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable, notes=str(tmp_path / "notes.jsonl")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def calls(desk: Path) -> list[list[str]]:
    notes = desk / "notes.jsonl"
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def test_records_go_in_the_order_of_their_starts_and_once(desk, capsys):
    record(desk / "runs" / "two", "20260103_000000", "cd34")
    assert cli.main(["runs", "push", str(desk / "runs")]) == 0
    folder = desk / "runs" / "one" / "wandb"
    stamps = ("20251231_235959", "20260101_120000", "20260102_000000")
    assert calls(desk) == [
        ["sync", *(str(folder / f"offline-run-{stamp}-ab12") for stamp in stamps)],
        ["sync", str(desk / "runs" / "two" / "wandb" / "offline-run-20260103_000000-cd34")],
    ]
    record(desk / "runs" / "one", "20260104_000000")
    assert cli.main(["runs", "push", str(desk / "runs")]) == 0
    assert calls(desk)[2:] == [["sync", str(folder / "offline-run-20260104_000000-ab12")]]
    assert cli.main(["runs", "push", str(desk / "runs")]) == 0
    assert "Nothing to upload" in capsys.readouterr().out
    assert len(calls(desk)) == 3


def test_a_failed_upload_does_not_stop_the_others(desk, capsys):
    RunRecord(desk / "runs" / "fails").start({}, [])
    RunRecord(desk / "runs" / "fails").finish("finished")
    record(desk / "runs" / "fails", "20260101_000000")
    assert cli.main(["runs", "push", str(desk / "runs")]) == 1
    assert len(calls(desk)) == 2
    assert "ended with code 3" in capsys.readouterr().out


def test_what_is_left_out(desk, capsys, monkeypatch):
    """Links, odd names, empty folders; and a run that is being trained."""
    folder = desk / "runs" / "two"
    (folder / "wandb").mkdir()
    (folder / "wandb" / "offline-run-20260101_000000-zz").symlink_to(desk / "runs" / "one")
    (folder / "wandb" / "offline-run-20260101_000000-empty").mkdir()
    record(folder, "20260101_000000", "--evil")
    (folder / "wandb" / "run-20260101_000000-online").mkdir()
    assert [path.name for path in waiting(folder)] == ["offline-run-20260101_000000---evil"]
    status = {"state": "running", "process": this_process()}
    (desk / "runs" / "one" / "status.json").write_text(json.dumps(status))
    assert cli.main(["runs", "push", str(desk / "runs" / "one")]) == 1
    assert "is being trained" in capsys.readouterr().out
    assert calls(desk) == []


def test_without_a_login_there_is_one_sentence(desk, capsys, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(desk / "none"))
    assert cli.main(["runs", "push", str(desk / "runs")]) == 2
    err = capsys.readouterr().err
    assert "not logged in" in err
    assert len(err.splitlines()) == 1
    assert calls(desk) == []
