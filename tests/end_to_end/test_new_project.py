"""A project that `nic new` wrote: its own tests pass, and its experiment trains, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.runs.record.record import read_status

CHECKOUT = Path(__file__).resolve().parents[2]
TRAIN = [
    "experiment=patches_small",
    "trainer=cpu",
    "trainer.max_steps=2",
    "data.batch_size=2",
    "logger=none",
    "trainer.log_every_n_steps=1",
]
FEW = ["evaluation.limit=1", "evaluation.save_images=0", "evaluation.baselines=[]"]


def _start(*command: str, cwd: Path, **changes: str) -> str:
    left = {k: v for k, v in os.environ.items() if k not in ("NIC_DATA", "NIC_CODEC_PACKAGES", "PYTHONPATH")}
    done = subprocess.run(
        command, cwd=cwd, env=left | {"OMP_NUM_THREADS": "1"} | changes, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _project(folder: Path) -> Path:
    assert cli.main(["new", "project", "my_lab", "-o", str(folder / "lab")]) == 0
    assert cli.main(["new", "codec", "waves", "--project", str(folder / "lab")]) == 0
    return folder / "lab"


def test_a_project_that_is_not_installed_tests_itself_and_trains(tmp_path: Path):
    lab = _project(tmp_path)
    found = {"PYTHONPATH": f"{lab}{os.pathsep}{CHECKOUT}", "NIC_CODEC_PACKAGES": "my_lab"}
    said = _start(sys.executable, "-m", "pytest", "-q", "-p", "no:dash", cwd=lab, **found)
    assert "4 passed" in said
    _start(sys.executable, "-m", "nic_lightning.train", *TRAIN, *FEW, cwd=lab, **found)
    assert read_status(lab / "runs" / "patches_small")["state"] == "finished"
    assert '"train/kernel_penalty"' in (lab / "runs" / "patches_small" / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_an_installed_project_needs_no_flag_and_no_variable(tmp_path: Path):
    """In a virtual environment of its own, which sees the packages of this one; pip fetches hatchling for the build."""
    lab = _project(tmp_path)
    _start(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=tmp_path)
    python = str(tmp_path / "venv" / "bin" / "python")
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(
        f"{CHECKOUT}\nimport site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n"
    )
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    _start(python, *pip, str(lab), cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    _start(python, "-m", "nic_lightning.train", *TRAIN, *FEW, cwd=elsewhere)
    assert read_status(elsewhere / "runs" / "patches_small")["state"] == "finished"
    said = _start(python, "-m", "nic_lightning.evaluate", "run=runs/patches_small", *FEW, cwd=elsewhere)
    assert "patches" in said
