from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.index.overview import overview, table
from nic_lightning.runs.machine.process import this_process
from nic_lightning.runs.record.record import RunRecord, ending_of, to_yaml


def make(folder: Path, state: str = "finished", error: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml({"name": folder.name, "trainer": {"max_steps": 2000}}))
    record = RunRecord(folder)
    for step in range(9, 1000, 10):
        record.log(step, {"train/loss": 100 - step / 10, "train/bpp": 0.5})
    record.log(999, {"validation/psnr": 30.0})
    record.finish(state, error)
    return folder


def test_how_far_a_run_is(tmp_path):
    line = overview(read_run(make(tmp_path / "one")))
    assert (line.name, line.state, line.step, line.max_steps) == ("one", "finished", 1000, 2000)
    assert line.loss == pytest.approx(0.1)
    assert line.problem is None
    shown = table([line]).splitlines()
    assert shown[0].split() == ["run", "state", "step", "loss", "last", "sign"]
    assert shown[1].startswith("one  finished  1,000 / 2,000  0.1")


def test_a_failed_run_says_why(tmp_path):
    line = overview(read_run(make(tmp_path / "one", "failed", "RunError: the disk is full")))
    assert line.state == "failed"
    assert "the disk is full" in table([line])


def test_who_ended_a_run_is_told(tmp_path):
    record = RunRecord(make(tmp_path / "one"))
    record.ended_by, record.steps = "EarlyStopping", 1000
    record.finish("finished")
    line = overview(read_run(record.folder))
    assert (line.state, line.problem, line.note) == ("finished", None, "EarlyStopping ended it")
    assert "EarlyStopping ended it" in table([line])
    assert ending_of(record.folder) == " (EarlyStopping ended it at step 1000)"
    record.finish("interrupted", "EndedEarly: trainer.max_time is used up.")
    line = overview(read_run(record.folder))
    assert (line.state, line.problem, line.note) == (
        "interrupted",
        None,
        "trainer.max_time is used up.",
    )
    assert ending_of(record.folder) == ""


def test_a_run_that_logged_nothing_yet(tmp_path):
    folder = make(tmp_path / "one", "running")
    (folder / "metrics.jsonl").unlink()
    line = overview(read_run(folder))
    assert (line.state, line.step, line.loss) == ("interrupted", None, None)
    assert "interrupted  -" in table([line])


def test_losses_that_are_no_numbers(tmp_path):
    folder = make(tmp_path / "one")
    RunRecord(folder).log(1009, {"train/loss": math.nan})
    line = overview(read_run(folder))
    assert math.isnan(line.loss or 0)
    assert json.loads(json.dumps(line.as_json(), allow_nan=False))["loss"] == "nan"
    assert "nan" in table([line])


def test_what_the_list_tells_beside_losses(tmp_path):
    folder = make(tmp_path / "one", "running")
    config = {
        "tags": ["paper", 7, None, ""],
        "codec": {"_target_": "nic_lightning.codecs.modulated.Modulated"},
        "trainer": {"max_steps": 2000},
    }
    (folder / "config.yaml").write_text(to_yaml(config))
    record = RunRecord(folder)
    record.log(1000, {"val/kodak/psnr@64": 30.0, "val/kodak/psnr@512": 34.0, "val/kodak/loss": math.inf})
    for step in range(1009, 1500, 10):
        record.log(step, {"train/bpp@64": step, "train/bpp@512": step + 1})
    status = {"state": "running", "started": "x", "process": this_process()}
    (folder / "status.json").write_text(json.dumps(status))
    rows = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = [json.dumps(row | {"time": 1e9 + row["step"] / 2}) for row in rows]
    (folder / "metrics.jsonl").write_text("\n".join(timed) + "\n")
    line = overview(read_run(folder))
    assert (line.state, line.codec, line.tags, line.step) == ("running", "modulated", ["paper", "7"], 1500)
    assert line.loss == pytest.approx(0.1)  # 51 lines back
    assert line.metrics["val/kodak/psnr"] == 32
    assert line.metrics["train/bpp"] == 1499.5
    assert line.seconds_left == pytest.approx(250)
    assert json.loads(json.dumps(line.as_json(), allow_nan=False))["metrics"]["val/kodak/loss"] == "inf"
    assert overview(read_run(make(tmp_path / "two"))).seconds_left is None


def test_the_step_of_a_run_too_short_to_log_any(tmp_path):
    folder = make(tmp_path / "one")
    (folder / "metrics.jsonl").unlink()
    record = RunRecord(folder)
    record.steps = 40
    record.finish("finished")
    assert overview(read_run(folder)).step == 40
    assert table([overview(read_run(folder))]).splitlines()[1].startswith("one  finished  40 / 2,000  -")


HOSTILE = [
    ("tags.json", "[" * 100_000),
    ("tags.json", json.dumps(["\x1b[2J", {"a": 1}, "x" * 10_000])),
    ("config.yaml", "tags: {a: 1}\ncodec: {_target_: [1]}"),
    ("metrics.jsonl", '{"step": 5, "a\\ud800@b": 1, "train/loss": "nan"}\n'),
    ("status.json", json.dumps({"state": "finished", "step": -3})),
    ("status.json", "{"),
    ("status.json", json.dumps({"state": "running", "process": "x", "ended": 3, "started": []})),
    ("status.json", json.dumps({"state": "failed", "error": {"a": ["\x1b[2J"]}, "ended": "\x1b[31m" * 50})),
    ("config.yaml", "- a list"),
    ("config.yaml", "trainer: 3"),
    ("config.yaml", "trainer: {max_steps: .nan}"),
    ("config.yaml", "trainer: {max_steps: [1]}"),
    ("config.yaml", "!!python/object/apply:os.system ['true']"),
    ("metrics.jsonl", "\xff\xfe" * 200_000),
    ("metrics.jsonl", "[" * 300_000 + "\n"),
    ("metrics.jsonl", '{"step": 1' + "0" * 400 + "}\n"),
    ("metrics.jsonl", '{"step": 5, "time": 1e308, "train/loss": [1]}\n'),
    ("metrics.jsonl", '{"step": 5, "time": -1e290, "train/loss": 1' + "0" * 5000 + "}\n"),
    ("metrics.jsonl", '{"step": true}\n{"step": "5"}\n[]\n7\n'),
]


@pytest.mark.parametrize(("name", "content"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_give_a_line_all_the_same(tmp_path, name, content):
    folder = make(tmp_path / "one\x1b[31m\nred")
    (folder / name).write_text(content, encoding="latin-1")
    line = overview(read_run(folder))
    json.dumps(line.as_json(), allow_nan=False)
    shown = table([line])
    assert len(shown.splitlines()) == 2
    assert "\x1b" not in shown
    if name != "metrics.jsonl" and line.state == "damaged":
        assert "damaged" in shown
        assert name in shown


def test_what_is_damaged(tmp_path):
    for name in ("status.json", "config.yaml"):
        folder = make(tmp_path / name)
        (folder / name).unlink()
        line = overview(read_run(folder))
        assert line.state == "damaged"
        assert line.problem is not None
        assert f"{name} is missing" in line.problem
