"""CSV and TensorBoard beside the record: the same rows, whenever a run was killed and continued."""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from nic_lightning.config import check_targets, compose
from nic_lightning.errors import UserError
from nic_lightning.runs.loggers.chosen import by_name, wandb_settings
from nic_lightning.runs.loggers.loggers import RecordLogger
from nic_lightning.runs.loggers.views import CsvLogger, RecordView, TensorBoardLogger
from nic_lightning.runs.record.record import RunRecord, read_metrics
from nic_lightning.runs.settings.trust import require_known_targets


def _start(folder: Path, kind: type[RecordView]):
    """A start of a run: what Lightning calls, in the order of its loggers."""
    loggers = [RecordLogger(RunRecord(folder)), kind(folder)]

    def log(values: dict[str, float], step: int) -> None:
        for logger in loggers:
            logger.log_metrics({**values, "epoch": 0.0}, step)

    return log, loggers[1]


def _killed_and_continued(folder: Path, kind: type[RecordView]) -> RecordView:
    """Killed after step 4, continued from a checkpoint of step 2; a metric that only the second start has."""
    log, killed = _start(folder, kind)
    for step in (1, 2):
        log({"train/loss": 1 / step}, step)
    saved = RunRecord(folder).metrics_bytes()
    for step in (3, 4):
        log({"train/loss": 100.0}, step)
    if isinstance(killed, TensorBoardLogger) and killed._writer is not None:
        killed._writer.close()  # a process that is killed ends its thread, too
    log, view = _start(folder, kind)
    RunRecord(folder).cut_metrics(saved)
    for step in (3, 4):
        log({"train/loss": 1 / step}, step)
    log({"val/psnr@64": 30.0}, 4)
    log({"train/loss": float("nan")}, 5)
    view.finalize("success")
    return view


def _table(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v != ""} for row in csv.DictReader(file)]


def test_csv_has_each_row_of_the_record_once(tmp_path: Path):
    _killed_and_continued(tmp_path, CsvLogger)
    rows, lines = _table(tmp_path / "metrics.csv"), read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 4, 5]
    assert str(rows[-1].pop("train/loss")) == str(lines[-1].pop("train/loss")) == "nan"
    assert rows == lines
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header == "step,epoch,time,train/loss,val/psnr@64"


def test_tensorboard_has_each_value_of_the_record_once(tmp_path: Path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    view = _killed_and_continued(tmp_path, TensorBoardLogger)
    assert isinstance(view, TensorBoardLogger)
    events = EventAccumulator(str(view.path)).Reload()
    shown = [(e.step, e.value, e.wall_time) for e in events.Scalars("train/loss")]
    wanted = [
        (line["step"], line["train/loss"], line["time"]) for line in read_metrics(tmp_path) if "train/loss" in line
    ]
    assert [step for step, _, _ in shown] == [1, 2, 3, 4, 5]
    assert shown[:-1] == [(step, pytest.approx(value, rel=1e-6), time) for step, value, time in wanted[:-1]]
    assert str(shown[-1][1]) == "nan"
    assert [e.value for e in events.Scalars("val/psnr@64")] == [30.0]


def test_a_view_that_cannot_be_written_does_not_end_the_training(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "metrics.csv").mkdir()
    log, _ = _start(tmp_path, CsvLogger)
    with caplog.at_level(logging.WARNING):
        log({"a": 1.0}, 1)
        log({"a": 2.0}, 2)
    (message,) = caplog.messages
    assert message.startswith("CsvLogger is lost (")
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


def test_event_files_are_not_removed_through_a_link(tmp_path: Path):
    pytest.importorskip("tensorboard")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "mine")
    log, _ = _start(tmp_path / "run", TensorBoardLogger)
    log({"a": 1.0}, 1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["kept"]


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(UserError, match=r"pip install 'nic_lightning\[tensorboard\]'\.$"):
        TensorBoardLogger(tmp_path)


def test_several_are_chosen_by_their_names():
    config = compose(overrides=["logger=[wandb,csv,tensorboard]", "logger.wandb.project=mine", "name=toy"])
    assert check_targets(config) == []
    require_known_targets(
        {"logger": {name: {"_target_": one["_target_"]} for name, one in by_name(config.logger).items()}}
    )
    assert list(by_name(config.logger)) == ["wandb", "csv", "tensorboard"]
    settings = wandb_settings(config.logger)
    assert settings is not None
    assert (settings["project"], settings["name"]) == ("mine", "toy")
    assert by_name(compose(overrides=["logger=none"]).logger) == {}
    with pytest.raises(UserError, match=r"^There is no logger 'cvs' \(did you mean 'csv'\?\)"):
        compose(overrides=["logger=[wandb,cvs]"])


def test_runs_of_before_have_the_settings_of_wandb_alone():
    old = {"_target_": "nic_lightning.runs.loggers.wandb.wandb_logger", "project": "mine", "tags": []}
    assert wandb_settings(old) == old
    assert wandb_settings({"csv": {"_target_": "a.B"}, "wandb": None}) is None
