"""Processes of one thread each that share the images of an evaluation (`callbacks/crew_member.py`)."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Pipe, wait
from types import TracebackType
from typing import Any, Self

import torch

from nic_lightning.callbacks.parcels import NotPortable, packed, unpacked
from nic_lightning.errors import RunError, UserError
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.measuring import Measuring, Task
from nic_lightning.runs.machine.slots import usable_cores

log = logging.getLogger(__name__)
START = 8.0
"""Seconds that processes have to save before they are started: torch alone takes a few."""
ALONE = 1 / 3
"""Share of an image's time with one thread in which a second thread is no help.

On two cores, two threads made Kodak's images 1.4 times as fast at width 64 and 1.5 times at 192.
"""
MEMORY, MEMORY_PER_BYTE = 2**30, 40
"""Bytes that a process takes, and for each byte of an image: its feature maps, moments and copies."""
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
_PATIENCE = 5.0
_LOOK = 0.2


def usual_size(count: int) -> int:
    """How many processes measure `count` images where nobody says: one for each core that this process may use.

    OMP_NUM_THREADS says how many those are, where it is set. With fewer images than cores it is one process, whose
    threads share an image.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = min(usable_cores(), int(threads) if threads.isdigit() and int(threads) else usable_cores())
    return cores if count >= cores else 1


class Crew:
    """The processes, which are started when there is work for them and end with the `with` block, or with this process.

    Once there are processes, this one measures with one thread, too, so that no value depends on who measured it. Until
    then it has all its threads, if nobody asked for processes; threads change the last bits of what is measured.

    Args:
        size: how many at most; None: `usual_size` of the largest data set, and they are started only once that pays.
        count: images of the largest data set.
    """

    def __init__(self, size: int | None, count: int) -> None:
        self.size = usual_size(count) if size is None else size
        self._asked = size is not None
        self._count = count
        self._members: list[_Member] = []
        self._job: tuple[Measuring, bytes | None] | None = None
        """What was last measured, as it is sent to processes; None where they cannot have it."""
        self._threads = 1

    def __enter__(self) -> Self:
        self._threads = torch.get_num_threads()
        if self._asked and self.size > 1:
            torch.set_num_threads(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self._members:
            member.end()
        self._members = []
        torch.set_num_threads(self._threads)

    def expect(self, count: int) -> None:
        """The next data set has so many images."""
        self._count = count

    def takes(self, work: Measuring, task: Task, seconds: float | None) -> bool:
        """Whether the processes take an image; `seconds` is how long the last one took here."""
        if self.size < 2 or self._job_of(work) is None:
            return False
        left = self._count - task.number
        size = min(self.size, left)
        if not self._members and not self._asked:
            threads = torch.get_num_threads()
            if seconds is None or not _pays(size, left, seconds, threads):
                return False
            most = min(self.size, _room(task.x), _idle_cores())
            size = min(most, left)
            if not _pays(size, left, seconds, threads):
                return False
            self.size = most
            torch.set_num_threads(1)
        while len(self._members) < size:
            self._members.append(_Member())
        return True

    def give(self, work: Measuring, task: Task) -> list[tuple[Task, Measured]]:
        """Give an image to a process that is free, and wait until one is; what was measured in the meantime."""
        done: list[tuple[Task, Measured]] = []
        while not (free := [member for member in self._members if member.free]):
            done += self._answers()
        job = self._job_of(work)
        assert job is not None
        free[0].measure(job, task)
        return done

    def rest(self) -> Iterator[tuple[Task, Measured]]:
        """What is still being measured, as it is done."""
        while any(member.task is not None for member in self._members):
            yield from self._answers()

    def _answers(self) -> list[tuple[Task, Measured]]:
        heard = wait([member.connection for member in self._members])
        answers = [member.answer() for member in self._members if member.connection in heard]
        return [answer for answer in answers if answer is not None]

    def _job_of(self, work: Measuring) -> bytes | None:
        """What processes have to know of a codec and a data set; None where they cannot have it."""
        if self._job is None or self._job[0] is not work:
            job = None
            try:
                job = packed(work.elsewhere())
            except NotPortable as error:
                if self._asked:
                    log.warning("%s is measured in one process: %s.", work.codec.name, str(error).rstrip("."))
            if self.size > 1 and (self._asked or self._members):
                torch.set_num_threads(self._threads if job is None else 1)
            self._job = work, job
        return self._job[1]


class _Member:
    """One process, and what it does."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        self.free, self.task, self._job = False, None, b""
        self.task: Task | None
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from nic_lightning.callbacks.crew_member import main; main({theirs.fileno()})"
        )
        with theirs:
            # Its standard input is open as long as this process lives, and ends it then, however that was.
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ONE_THREAD},
            )

    def measure(self, job: bytes, task: Task) -> None:
        """Let the process, which is free, measure an image."""
        self.free, self.task = False, task
        with self._alive():
            if job is not self._job:
                self.connection.send_bytes(job)
                self._job = job
            self.connection.send_bytes(packed(task))

    def answer(self) -> tuple[Task, Measured] | None:
        """What the process says: an image and what was measured of it, or that it is ready to begin (None)."""
        with self._alive():
            said: Mapping[str, Any] = unpacked(self.connection.recv_bytes())
        if "error" in said:
            raise _error(said)
        task, self.task, self.free = self.task, None, True
        return None if task is None else (task, said["measured"])

    def end(self) -> None:
        """End the process."""
        self.connection.close()
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _alive(self) -> _Alive:
        return _Alive(self._process, self.task)


class _Alive:
    """Says in a sentence that a process died while it was talked to."""

    def __init__(self, process: subprocess.Popen[bytes], task: Task | None) -> None:
        self._process, self._task = process, task

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, EOFError | OSError):
            return
        code = self._process.wait(_PATIENCE)
        how = f"was killed by signal {-code}; memory may have run out" if code < 0 else f"ended with code {code}"
        doing = f" that measured {self._task.name}" if self._task is not None else ""
        raise RunError(
            f"A process of the evaluation{doing} {how}. What was measured is kept; the same command goes on, and with "
            "evaluation.workers=1 in one process."
        ) from error


def _error(said: Mapping[str, Any]) -> Exception:
    """What went wrong in a process, as if it had been here."""
    try:
        error = unpacked(said["error"])
    except Exception:  # of a class that cannot be made again from what it holds
        error = None
    if not isinstance(error, Exception):
        return RuntimeError(f"A process of the evaluation failed:\n{said['trace']}")
    if not isinstance(error, UserError):
        error.add_note(f"In a process of the evaluation:\n{said['trace']}")
    return error


def _pays(size: int, left: int, seconds: float, threads: int) -> bool:
    """Whether processes save more than their start takes, by the images left and the seconds of each with `threads`."""
    speed_up = 1 / (ALONE + (1 - ALONE) / threads)
    return size > 1 and seconds * left * (1 - speed_up / size) >= START


def _idle_cores() -> int:
    """Cores that nobody uses at the moment, while this process waits."""
    import psutil

    return round(usable_cores() * (1 - psutil.cpu_percent(_LOOK) / 100))


def _room(x: torch.Tensor) -> int:
    """How many processes the memory has room for, by the image at hand."""
    import psutil

    needed = MEMORY + MEMORY_PER_BYTE * x.numel() * x.element_size()
    return max(1, psutil.virtual_memory().available // needed)
