"""`nic runs rm`: delete run folders, each whole or not at all, and nothing that is no run."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import MARKS, read_run
from nic_lightning.runs.resume.folder import refuse_living
from nic_lightning.runs.resume.locking import LOCK


def remove(folders: Sequence[Path], yes: bool = False) -> int:
    """Delete runs, after a question unless `yes`; 1 when the answer is no.

    All are looked at before any goes. A run first gets a hidden name, which no list shows, so that a deletion that is
    cut short leaves no half run behind under its own.

    Raises:
        RunError: one of them is no run folder, a link, or being trained; none is deleted then.
    """
    targets = list(dict.fromkeys(_checked(folder) for folder in folders))
    if not yes:
        sizes = [f"  {target} ({_size(target) / 2**20:,.1f} MiB)" for target in targets]
        print("\n".join(["This deletes:", *sizes, "It cannot be undone. Delete? [y/N] "]), end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("Nothing was deleted.")
            return 1
    for target in targets:
        _checked(target)  # the answer may have taken a while
        hidden = target.with_name(f".{target.name[:200]}.removed-{secrets.token_hex(4)}")
        try:
            target.rename(hidden)
            shutil.rmtree(hidden)
        except OSError as error:
            left = f"; what is left of it is {hidden}" if hidden.exists() else ""
            raise RunError(f"{target} could not be deleted: {error.strerror}{left}.") from error
        print(f"{target} is deleted.")
    return 0


def _checked(folder: Path) -> Path:
    path = Path(os.path.abspath(folder))
    if path.is_symlink():
        raise RunError(f"{folder} is a link; name the run folder itself.")
    if not path.is_dir():
        raise RunError(f"{folder} does not exist, or is no folder.")
    if not any(os.path.lexists(path / mark) for mark in MARKS) or path == Path(path.anchor):
        raise RunError(f"{folder} is no run folder: it holds no {MARKS[0]}, {MARKS[1]} or {MARKS[2]}.")
    if Path.cwd().is_relative_to(path.resolve()):
        raise RunError(f"{folder} holds the folder that you are in; leave it first.")
    refuse_living(path)
    if read_run(path).state == "elsewhere":
        raise RunError(f"{folder} was last seen running on another host; end it there, or delete the folder yourself.")
    if _locked(path):
        raise RunError(f"{folder} was just taken by another process; wait for it, or end it.")
    return path


def _locked(folder: Path) -> bool:
    """Whether a training that has only begun holds the folder's lock. Asks without taking it or making the file."""
    import fcntl

    try:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
