"""One process at a time in a run folder, from its very start: status.json says who is at work only a little later."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from nic_lightning.errors import RunError, UserError, disk_error
from nic_lightning.runs.resume.folder import claim, claim_for_analysis, claim_for_evaluation, refuse_living

LOCK = ".lock"
"""In the run folder, and never removed but by who holds it: another process may be about to lock it."""


@contextmanager
def occupied(
    folder: Path, config: Mapping[str, Any], fresh: bool = False
) -> Iterator[Literal["new", "continue", "finished"]]:
    """What `claim` says of `folder`, which no other process can occupy meanwhile.

    The kernel gives the folder back when this process ends, by `kill -9` too. Ranks that rank 0 starts must not ask.
    Raises RunError when another process is there, and what `claim` raises; then a new folder is left empty.
    """
    with _occupied(folder, lambda: claim(folder, config, fresh)) as meaning:
        yield meaning


@contextmanager
def occupied_for_evaluation(folder: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """`occupied` for what `nic-evaluate` writes beside no training; raises what `claim_for_evaluation` raises."""
    with _occupied(folder, lambda: claim_for_evaluation(folder, config)):
        yield


@contextmanager
def occupied_for_analysis(folder: Path, config: Mapping[str, Any]) -> Iterator[Literal["new", "finished"]]:
    """`occupied` for what `nic-analyze` writes; raises what `claim_for_analysis` raises."""
    with _occupied(folder, lambda: claim_for_analysis(folder, config)) as meaning:
        yield meaning


@contextmanager
def _occupied(folder: Path, decide: Callable[[], Any]) -> Iterator[Any]:
    made, locked_before = not folder.exists(), (folder / LOCK).exists()
    lock = _lock(folder)
    try:
        try:
            meaning = decide()
        except UserError:
            if not locked_before:  # a folder that is refused stays as it was
                (folder / LOCK).unlink()
            if made:
                folder.rmdir()
            raise
        if not _is_at(lock, folder / LOCK):  # moved aside with the old run
            os.close(lock)
            lock = _lock(folder)
        try:
            yield meaning
        except BaseException:
            with suppress(OSError):
                if set(os.listdir(folder)) <= {LOCK, "output.log"}:  # the start came to nothing
                    (folder / LOCK).unlink()
            raise
    finally:
        os.close(lock)


def _lock(folder: Path) -> int:
    """The open lock file.

    A POSIX lock, which belongs to the process: workers that it forks, and that outlive it for seconds, do not hold it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise disk_error(error) or RunError(f"{folder / LOCK} cannot be opened: {error.strerror}.") from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):  # else it is a file system without locks
            os.close(file)
            refuse_living(folder)
            raise RunError(f"{folder} was just taken by another process; wait for it, or end it.") from error
    return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
