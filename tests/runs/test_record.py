from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nic_lightning.errors import RunError
from nic_lightning.runs.machine.environment import MAX_DIFF, git_state
from nic_lightning.runs.record.record import RunRecord, ending_in, read_metrics, read_status

CONFIG = {"name": "toy", "seed": 7, "codec": {"width": 8, "list": [1, 2]}}


def test_start_writes_what_was_run(tmp_path):
    RunRecord(tmp_path / "run").start(CONFIG, ["codec.width=8"])
    folder = tmp_path / "run"
    assert yaml.safe_load((folder / "config.yaml").read_text()) == CONFIG
    assert yaml.safe_load((folder / "overrides.yaml").read_text()) == ["codec.width=8"]
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seeds"] == {"seed": 7}
    assert environment["python"] == sys.version.split()[0]
    assert "numpy" in environment["packages"]
    assert environment["command"] == sys.argv
    assert read_status(folder)["state"] == "running"


def test_no_environment_variable_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "very-secret-value")
    RunRecord(tmp_path).start(CONFIG, [])
    for file in tmp_path.iterdir():
        assert b"very-secret-value" not in file.read_bytes()


def test_a_second_start_keeps_the_first(tmp_path):
    record = RunRecord(tmp_path)
    record.start(CONFIG, [])
    started = read_status(tmp_path)["started"]
    record.finish("failed", "out of memory")
    assert read_status(tmp_path)["error"] == "out of memory"
    record.start(CONFIG, ["again"])
    status = read_status(tmp_path)
    assert (status["state"], status["error"], status["started"]) == ("running", None, started)
    assert len(json.loads((tmp_path / "environment.json").read_text())["earlier"]) == 1
    record.finish("finished")
    assert read_status(tmp_path)["ended"]


def test_unknown_state_is_refused(tmp_path):
    with pytest.raises(ValueError, match="state"):
        RunRecord(tmp_path).finish("done")


def test_log_and_read(tmp_path):
    record = RunRecord(tmp_path)
    record.log(1, {"train/loss": 2.5, "step": 9.0}, epoch=0)
    record.log(2, {"train/loss": math.nan, "a": math.inf, "b": -math.inf})
    first, second = read_metrics(tmp_path)
    assert (first["step"], first["epoch"], first["train/loss"]) == (1, 0, 2.5)
    assert math.isnan(second["train/loss"])
    assert (second["a"], second["b"]) == (math.inf, -math.inf)
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_damaged_lines_are_left_out(tmp_path):
    record = RunRecord(tmp_path)
    record.log(1, {"a": 1.0})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'not json\n[1]\n{"step": "x"}\n{"step": 2, "a": "text", "b": 3}\n\xff\xfe\n')
        file.write(b"[" * 5000 + b"\n")
        file.write(b'{"step": 3, "a": 1' + b"0" * 400 + b"}\n")
        file.write(b'{"step": 4, "a"')
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[1] == {"step": 2, "b": 3.0}
    assert lines[2]["a"] == math.inf


def test_restart_drops_a_cut_line(tmp_path):
    record = RunRecord(tmp_path)
    record.log(1, {"a": 1.0})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "a"')
    record.start(CONFIG, [])
    record.log(2, {"a": 2.0})
    assert [line["a"] for line in read_metrics(tmp_path)] == [1.0, 2.0]


def test_metrics_are_cut_to_the_length_that_a_checkpoint_keeps(tmp_path):
    record = RunRecord(tmp_path)
    assert record.metrics_bytes() == 0
    record.cut_metrics(0)
    for step in range(3):
        record.log(step, {"a": math.nan if step == 2 else step})
    length = record.metrics_bytes()
    record.log(3, {"a": 3.0})
    record.cut_metrics(length)
    record.log(3, {"a": 30.0})
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert math.isnan(lines[2]["a"])
    assert lines[3]["a"] == 30.0
    record.cut_metrics(length - 1)  # not the end of a line: a file that somebody edited
    record.cut_metrics(10**9)
    assert [line["step"] for line in read_metrics(tmp_path)] == [0, 1]


def test_log_survives_kill(tmp_path):
    """Every line that `log` acknowledged is there after SIGKILL, and the file still reads."""
    code = (
        "import sys\n"
        "from nic_lightning.runs.record.record import RunRecord\n"
        "record, step = RunRecord(sys.argv[1]), 0\n"
        "while True:\n"
        "    record.log(step, {'train/loss': 1.0 / (step + 1), 'train/bpp': 0.5})\n"
        "    print(step, flush=True)\n"
        "    step += 1\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = -1
        while acknowledged < 300:
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(s) for s in rest[:-1])])
    steps = [line["step"] for line in read_metrics(tmp_path)]
    assert steps[: acknowledged + 1] == list(range(acknowledged + 1))
    assert len(steps) <= acknowledged + 2


def test_log_into_a_missing_folder_says_so(tmp_path):
    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written"):
        RunRecord(tmp_path / "gone").log(1, {"a": 1.0})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "odd"}', "[" * 100_000])
def test_damaged_status(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(RunError, match="status"):
        read_status(tmp_path)


def test_git_state(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    source = tmp_path / "package" / "runs" / "environment.py"
    monkeypatch.setattr("nic_lightning.runs.machine.environment.__file__", str(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == (None, b"")
    git("init", "-q")
    git("config", "user.email", "a@example.org")
    git("config", "user.name", "a")
    (tmp_path / "a.txt").write_text("one\n")
    git("add", "a.txt")
    git("commit", "-qm", "one")
    state, diff = git_state()
    assert state is not None
    assert not state["dirty"]
    assert diff == b""
    (tmp_path / "a.txt").write_text("two\n" * MAX_DIFF)
    (tmp_path / "new.txt").write_text("new")
    state, diff = git_state()
    assert state is not None
    assert state["dirty"]
    assert state["diff_cut"]
    assert len(diff) == MAX_DIFF
    assert state["untracked"] == ["new.txt"]


TRAINING = {"name": "a", "trainer": {"max_steps": 3}}


def test_a_training_that_comes_to_no_step_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    for began, left in ((False, {"mine.txt"}), (True, {"mine.txt", "status.json", "config.yaml"})):
        record = RunRecord(tmp_path)
        record.start(TRAINING, [])
        record.began = began
        (tmp_path / "wandb" / "offline-run").mkdir(parents=True, exist_ok=True)
        with pytest.raises(RunError), ending_in(record):
            raise RunError("The data is not there.")
        found = {path.name for path in tmp_path.iterdir()}
        assert found == left if not began else found >= left
    assert read_status(tmp_path)["state"] == "failed"


def test_what_an_earlier_start_has_made_stays(tmp_path: Path) -> None:
    record = RunRecord(tmp_path)
    record.start(TRAINING, [])
    record.log(0, {"train/loss": 1.0})
    again = RunRecord(tmp_path)
    again.start(TRAINING, [])
    with pytest.raises(RunError), ending_in(again):
        raise RunError("The data is not there.")
    assert read_status(tmp_path)["state"] == "failed"
    assert (tmp_path / "metrics.jsonl").exists()
