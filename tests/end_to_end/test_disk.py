"""Disks that are full or may not be written, mounted for real."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Desk
from .test_survival import MODES, Training, assert_same

MIB = 2**20


def mount(folder: Path, options: str) -> None:
    """A small disk in memory; skips where this user may not mount one."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """64 MiB, mounted at runs/."""
    folder = tmp_path / "runs"
    folder.mkdir()
    mount(folder, f"size={64 * MIB}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, left: int) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        state = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_bsize - left)
    return ballast


@pytest.mark.slow
def test_a_disk_that_fills_up_in_training(tmp_path: Path, disk: Path, desk: Desk) -> None:
    whole = Training(tmp_path / "whole", "reference", MODES["one process"])
    whole.folder.mkdir()
    whole.finish()
    training = Training(tmp_path, "killed", MODES["one process"])
    process = training.start()
    while not (training.run / "checkpoints" / "previous.ckpt").exists():
        assert process.poll() is None, (tmp_path / "killed.log").read_text()[-3000:]
        time.sleep(0.001)
    ballast = fill(disk, left=100 * 2**10)  # enough for lines of metrics, too little for a checkpoint
    assert process.wait(timeout=300) == 2
    (*_, told) = log = (tmp_path / "killed.log").read_text().splitlines()
    assert not [line for line in log if "Traceback" in line]
    assert told.startswith(f"The checkpoint {training.run}/checkpoints/last.ckpt could not be written: No space left")
    assert told.endswith("The earlier one is intact; the same command continues from it.")
    ballast.unlink()
    again = desk("nic", "resume", training.run)
    assert again.returncode == 0, again.stderr
    assert_same(training, whole)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be written: for root, on a disk mounted for reading only."""
    folder = tmp_path / "locked"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount(folder, "ro")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("arguments", [(), ("-m", "codec.lmbda=64,128")])
def test_a_run_folder_that_may_not_be_written(locked: Path, desk: Desk, arguments: tuple[str, ...]) -> None:
    done = desk("nic-train", *arguments, f"run_dir={locked}/run", "codec=cae", "logger=none")
    assert done.returncode == 2, done.stderr
    (told,) = done.stderr.splitlines()
    assert told.startswith(f"{locked}/run cannot be used: ")
    assert told.endswith("; give a folder that you may write to.")
