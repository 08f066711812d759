from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nic_lightning.errors import RunError, UserError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.locking import LOCK, occupied

HOLD = """
import os, sys, time
from pathlib import Path
from nic_lightning.errors import RunError
from nic_lightning.runs.resume.locking import occupied
try:
    with occupied(Path(sys.argv[1]), {"seed": 1}) as meaning:
        if os.fork() == 0:  # as a worker of a data loader
            time.sleep(60)
            os._exit(0)
        print(meaning, flush=True)
        time.sleep(60)
except RunError as error:
    print("refused", error, flush=True)
"""


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    with ExitStack() as last:
        for process in started:
            last.enter_context(process)
            os.killpg(process.pid, signal.SIGKILL)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_starts_at_once_and_one_after_a_kill(tmp_path: Path, processes) -> None:
    """Of two processes one gets the folder; when it is killed, its workers do not keep the folder from the next."""
    folder = tmp_path / "run"

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        processes.append(process)
        return process

    said = {process: first_line(process) for process in [start(), start()]}
    refused = f"refused {folder} was just taken by another process; wait for it, or end it."
    assert sorted(said.values()) == ["new", refused]
    holder = next(process for process, text in said.items() if text == "new")
    holder.kill()
    holder.wait()
    assert first_line(start()) == "new"


def test_one_that_has_said_who_it_is_is_named(tmp_path: Path, processes) -> None:
    text = HOLD.replace("if os.fork", "RunRecord(Path(sys.argv[1])).start({'seed': 1}, [])\n        if os.fork")
    text = "from nic_lightning.runs.record.record import RunRecord" + text
    command = [sys.executable, "-c", text, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    processes.append(process)
    assert first_line(process) == "new"
    with pytest.raises(RunError, match=f"is being trained by process {process.pid};"), occupied(tmp_path, {"seed": 1}):
        pass


def test_fresh_occupies_the_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    RunRecord(folder).start({"seed": 1}, [])
    RunRecord(folder).finish("failed")
    with occupied(folder, {"seed": 1}) as meaning:
        assert meaning == "continue"
    with occupied(folder, {"seed": 2}, fresh=True) as meaning:
        assert meaning == "new"
        assert [path.name for path in folder.iterdir()] == [LOCK]
        (old,) = tmp_path.glob("run.replaced-*")
        with occupied(old, {"seed": 1}) as other:  # is free again
            assert other == "continue"


def test_what_is_refused_leaves_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1"), occupied(tmp_path, {"evaluation": {"limit": 0}}):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=LOCK), occupied(tmp_path, {"seed": 1}):
        pass
    assert not (tmp_path / "elsewhere").exists()
