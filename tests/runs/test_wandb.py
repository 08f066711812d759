from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image

from nic_lightning.runs.loggers import wandb as module
from nic_lightning.runs.loggers.reopened import add_to_wandb
from nic_lightning.runs.loggers.wandb import (
    finish_wandb,
    is_logged_in,
    log_results_to_wandb,
    wandb_logger,
    wandb_mode,
)

ROWS = [
    {"dataset": "kodak", "codec": "mae", "item": "a", "label": "64", "bpp": 0.2, "psnr": 28.0, "lpips": None},
    {"dataset": "kodak", "codec": "mae", "item": "b", "label": "64", "bpp": 0.4, "psnr": 30.0, "lpips": None},
]


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")] + ["NETRC"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def records(folder: Path) -> list[dict[str, Any]]:
    """What W&B's own reader finds in the offline runs below a run folder."""
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    found = []
    for run in runs:
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found += [json.loads(line) for line in output.splitlines()]
    return found


def test_what_is_measured_later_goes_under_the_same_id(tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    picture = folder / "gains.png"
    Image.new("RGB", (16, 16), "red").save(picture)
    rows = [{"label": "64", "static": 0.5, "adapted": 0.25}]
    write = (folder / "config.yaml").write_text
    write("logger: null\n")
    assert not add_to_wandb(folder, {"gap": rows}, {"gains": picture})
    write("logger: {project: mine, mode: offline, name: first}\n")
    assert not add_to_wandb(folder, {"gap": rows}, {"gains": picture})
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "gains.png"]

    (folder / "wandb_id").write_text("abc12345\n")
    assert add_to_wandb(folder, {"gap": rows}, {"gains": picture})
    (start, *_) = [record["run"] for record in records(folder) if "run" in record]
    assert (start["run_id"], start["project"], start["display_name"]) == ("abc12345", "mine", "first")
    media = next((folder / "wandb").glob("offline-run-*-abc12345/files/media"))
    (kept,) = media.rglob("*.table.json")
    assert json.loads(kept.read_text())["data"] == [["64", 0.5, 0.25]]
    assert [path.name.split("_")[0] for path in media.rglob("*.png")] == ["gains"]
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == []


def test_an_offline_run_from_start_to_results(tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    picture = folder / "curve.png"
    Image.new("RGB", (16, 16), "red").save(picture)
    wide = folder / "wide.png"
    Image.new("RGB", (24, 16), "red").save(wide)
    logger = wandb_logger(folder, group="sweep", tags=["small"], config={"codec": {"width": 8}})
    assert logger is not None
    assert "WANDB_MODE" not in os.environ
    logger.log_metrics({"train/loss": 0.25}, 7)
    bd = {"bd_rate": [{"test": "mae", "bd_rate": -12.5}]}
    log_results_to_wandb(logger, ROWS, {"rd": picture}, {"a at 64": picture, "b at 64": wide}, bd)
    finish_wandb(logger)
    first_id = (folder / "wandb_id").read_text().strip()

    again = wandb_logger(folder)
    assert again is not None
    assert again.version == first_id
    finish_wandb(again)
    assert (folder / "wandb_id").read_text().strip() == first_id
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == []

    text = [json.dumps(record) for record in records(folder)]
    (start, *_) = [record["run"] for record in records(folder) if "run" in record]
    assert (start["run_group"], start["tags"], start["run_id"]) == ("sweep", ["small"], first_id)
    assert start["config"]["update"]["codec"] == {"width": 8}
    assert any('"train/loss"' in line and "0.25" in line for line in text)
    assert any("kodak/mae/psnr@64" in line and "29" in line for line in text)
    media = next((folder / "wandb").glob("offline-run-*/files/media"))
    pictures = {path.name.rpartition("_1_")[0] for path in media.rglob("*.png")}
    assert pictures == {"rd", "reconstructions_16x16", "reconstructions_24x16"}
    tables = {file.name.split("_")[0]: json.loads(file.read_text()) for file in media.rglob("*.table.json")}
    assert "lpips" not in tables["table"]["columns"]
    assert len(tables["table"]["data"]) == 2
    assert tables["bd"]["data"] == [["mae", -12.5]]


@pytest.mark.parametrize(
    ("variable", "argument", "logged_in", "expected"),
    [
        (None, None, False, "offline"),
        (None, None, True, "online"),
        (None, "offline", True, "offline"),
        ("offline", "online", True, "offline"),
        ("dryrun", None, True, "offline"),
        ("online", "offline", False, "online"),
        ("disabled", None, True, "disabled"),
        ("nonsense", None, True, "offline"),
    ],
)
def test_mode(monkeypatch, variable, argument, logged_in, expected):
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    if logged_in:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_mode(argument) == expected


def test_login_in_a_netrc_file(tmp_path, monkeypatch):
    assert not is_logged_in()
    file = tmp_path / "my_netrc"
    monkeypatch.setenv("NETRC", str(file))
    file.write_text("machine example.org login a password b\n")
    assert not is_logged_in()
    file.write_text("machine api.wandb.ai login user password b\n")
    file.chmod(0o600)
    assert is_logged_in()
    file.write_text("machine my.server login user password b\n")
    assert not is_logged_in()
    monkeypatch.setenv("WANDB_BASE_URL", "https://my.server")
    assert is_logged_in()
    file.write_text("no netrc at all {")
    assert not is_logged_in()


def test_disabled_is_no_logger(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_logger(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_any_failure_is_one_warning(tmp_path, monkeypatch, caplog):
    def fail(**_: object) -> None:
        raise OSError("no helper process\nsecond line")

    monkeypatch.setattr(wandb, "init", fail)
    with caplog.at_level(logging.WARNING):
        assert wandb_logger(tmp_path) is None
    (record,) = [r for r in caplog.records if r.name == module.__name__]
    assert record.message == "W&B is left out of this run: no helper process"


def test_a_server_out_of_reach_means_offline(tmp_path, monkeypatch, caplog):
    asked: list[str] = []

    class Run:
        def define_metric(self, *_: object, **__: object) -> None: ...

    def init(mode: str, **_: object) -> Run:
        asked.append(mode)
        if mode == "online":
            raise TimeoutError("no answer")
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert wandb_logger(tmp_path) is not None
    assert asked == ["online", "offline"]
    assert "recorded offline: no answer" in caplog.text


def test_other_ranks_open_no_run(tmp_path, monkeypatch):
    from pytorch_lightning.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.setattr(wandb, "init", pytest.fail)
    logger = wandb_logger(tmp_path)
    assert logger is not None
    logger.log_metrics({"a": 1.0}, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_id_is_replaced(tmp_path):
    for content in (b"", b"../../x", b"\xff\xfe", b"a" * 65):
        (tmp_path / "wandb_id").write_bytes(content)
        made = module._run_id(tmp_path)
        assert (tmp_path / "wandb_id").read_text().strip() == made
        assert module._run_id(tmp_path) == made


def test_results_never_raise(caplog):
    class Broken:
        @property
        def experiment(self) -> object:
            raise RuntimeError("gone")

    broken: Any = Broken()
    log_results_to_wandb(None, ROWS, {}, {})
    finish_wandb(None)
    log_results_to_wandb(broken, ROWS, {}, {})
    finish_wandb(broken)
    assert "The results are not in W&B: gone" in caplog.text
    assert "did not end properly: gone" in caplog.text


@pytest.mark.slow  # waits for what W&B waits for
def test_a_lost_helper_process_ends_in_one_warning(tmp_path):
    """In a process of its own: W&B keeps one helper for all runs of a process."""
    code = """
import logging, os, signal, sys
from pathlib import Path
from nic_lightning.runs.loggers.wandb import finish_wandb, wandb_logger
logging.basicConfig(level=logging.WARNING, format="%(message)s")
logger = wandb_logger(sys.argv[1], mode="offline")
logger.log_metrics({"a": 1.0}, 1)
me = str(os.getpid())
for stat in Path("/proc").glob("[0-9]*/stat"):
    if stat.read_text().rpartition(")")[2].split()[1] == me:
        os.kill(int(stat.parent.name), signal.SIGKILL)
for step in range(2, 200):
    logger.log_metrics({"a": 1.0}, step)
    if logger._lost:
        break
logger.log_metrics({"a": 1.0}, 1000)
logger.finalize("success")
finish_wandb(logger)
print("went on")
os._exit(0)  # W&B's own leave-taking waits for the helper that is gone
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_MODE"} | {"WANDB_SILENT": "true"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.strip().endswith("went on"), done.stderr
    assert done.stderr.count("W&B is lost") == 1
