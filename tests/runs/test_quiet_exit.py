"""A process whose W&B helper is killed says nothing about it at exit; one with another mistake does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import atexit, os, signal, subprocess, sys, time, warnings
warnings.simplefilter("ignore")
from nic_lightning.runs.loggers import wandb as ours
from pathlib import Path
logger = ours.wandb_logger(Path(sys.argv[1]))
logger.log_metrics({"a": 1.0}, 1)
helper = subprocess.run(["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True, text=True).stdout.split()
assert len(helper) == 1, helper
os.kill(int(helper[0]), signal.SIGKILL)
time.sleep(1)
def mine():
    raise ConnectionResetError("this one is ours")
atexit.register(mine)
for step in range(20):
    logger.log_metrics({"a": 1.0}, step)
    time.sleep(0.1)
print("done")
"""


@pytest.mark.slow  # two processes with a W&B helper each
def test_only_wandb_is_quiet(tmp_path: Path):
    (tmp_path / "run").mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", CODE, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path)
    assert done.stdout.splitlines() == ["done"], done.stderr
    assert "W&B is lost" in done.stderr
    assert done.stderr.count("Traceback") == 1
    assert "this one is ours" in done.stderr
