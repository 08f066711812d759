"""What W&B recorded offline in a run folder, and its upload by W&B's own `wandb sync`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from nic_lightning.errors import RunError

_NAME = re.compile(r"offline-run-(\d{8}_\d{6})-([A-Za-z0-9_-]{1,64})")


def waiting(folder: Path) -> list[Path]:
    """Offline records of a run that are not uploaded yet, in the order of their starts: one for each start of the run.

    W&B marks those that it has uploaded by a file beside the record.
    """
    try:
        entries = sorted(os.scandir(folder / "wandb"), key=lambda entry: entry.name)
    except OSError:
        return []
    found = []
    for entry in entries:
        name = _NAME.fullmatch(entry.name)
        if name is None or not entry.is_dir(follow_symlinks=False):
            continue
        record = Path(entry.path) / f"run-{name[2]}.wandb"
        if record.is_file() and not record.with_name(f"{record.name}.synced").exists():
            found.append((name[1], Path(entry.path)))
    return [path for _, path in sorted(found)]


def upload(records: list[Path]) -> None:
    """Upload one run's records, in their order, which decides how their histories join.

    Raises:
        RunError: W&B's program is missing or failed; its own words went to the terminal.
    """
    found = shutil.which("wandb")
    command = [found] if found else [sys.executable, "-m", "wandb"]
    paths = [str(path.resolve()) for path in records]
    try:
        done = subprocess.run([*command, "sync", *paths], check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise RunError(f"`wandb sync` cannot be started: {error.strerror}.") from error
    if done.returncode:
        raise RunError(f"`wandb sync` ended with code {done.returncode}; nic runs push begins again where it stopped.")
