"""`nic resume`: continue a run, or every unfinished run of a folder, from what lies there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.index.index import MARKS, find_runs
from nic_lightning.runs.record.record import ending_of
from nic_lightning.runs.resume.resume import Start, prepare

TIME_IS_UP = 75
"""Exit code of a run that a time limit ended: `callbacks.ending.EndedEarly`, which needs torch."""
FORWARDED = (signal.SIGTERM, signal.SIGUSR1)


def resume(folder: Path, overrides: Sequence[str], force: bool = False) -> int:
    """Continue the run in `folder`, in the place of this process; of a sweep's folder, each unfinished run in turn.

    Returns 0 when there is nothing left to do. Raises what `prepare` raises.
    """
    if not folder.exists():
        raise RunError(f"{folder} does not exist; name a run folder, or a folder of runs.")
    if not any(os.path.lexists(folder / mark) for mark in MARKS):
        return _resume_each(folder, overrides, force)
    start = prepare(folder, overrides, force)
    if start is None:
        print(f"{folder} is finished already{ending_of(folder)}; trainer.max_steps=N with a larger N continues it.")
        return 0
    print(f"Continuing {folder}", file=sys.stderr, flush=True)
    os.chdir(start.folder)
    os.execve(start.command[0], start.command, start.environment)


def _resume_each(folder: Path, overrides: Sequence[str], force: bool) -> int:
    """One after the other; a run that fails is reported at the end, while the others go on."""
    failures, continued = [], 0
    runs = find_runs([folder])
    for number, run in enumerate(runs, 1):
        try:
            start = prepare(run.folder, overrides, force)
        except UserError as error:
            failures.append(str(error))
            continue
        if start is None:
            continue
        continued += 1
        print(f"Continuing {run.folder} ({number} of {len(runs)})", file=sys.stderr, flush=True)
        code = _wait(start)
        if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            return 128 + signal.SIGTERM
        if code == TIME_IS_UP:
            failures.append(f"{run.folder} ended before its end; the same command continues it.")
        elif code:
            failures.append(f"{run.folder} failed with exit code {code}.")
    done = len(runs) - len(failures)
    print(f"{done} of {len(runs)} runs are finished; {continued} were continued now.")
    for sentence in failures:
        print(sentence, file=sys.stderr)
    return 1 if failures else 0


def _wait(start: Start) -> int:
    with (
        subprocess.Popen(start.command, cwd=start.folder, env=start.environment) as process,
        _forwarding_to(process),
    ):
        return process.wait()


@contextmanager
def _forwarding_to(process: subprocess.Popen) -> Iterator[None]:
    """Pass the signals on that make a run save itself, so that it does not go on without us."""
    before = {number: signal.signal(number, lambda got, _: process.send_signal(got)) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
