"""Each job of a Hydra multirun in a process of its own.

Distributed training re-executes the command line in every rank, which in a multirun would start the whole sweep again;
and a job that runs out of memory must not take the next one with it. The job writes to output.log in its folder, holds
its slots, and ends with the launcher's process.
"""

from __future__ import annotations

import codecs
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nic_lightning import conf_tree
from nic_lightning.config import quoted
from nic_lightning.errors import RunError
from nic_lightning.runs.machine.slots import Share, lock, share
from nic_lightning.runs.record.record import read_status
from nic_lightning.runs.resume.folder import claim

LOG = "output.log"
NO_LOG_FILE = "hydra/job_logging=stdout"
"""Hydra's own train.log would hold a part of output.log, and change in finished folders."""
_DISTRIBUTED = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED")
_SLURM_TASK = ("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")
"""With these, Lightning would leave the starting of ranks to Slurm."""
_NO_HINT = "ignore:The `srun` command is available"
"""And without them, it would advise to use srun."""
_PATIENCE = 60.0
_POLL = 0.2


class JobFailed(RunError):
    """A job that ended with an exit code other than 0; `code` is negative for a signal."""

    def __init__(self, folder: Path, code: int, reason: str) -> None:
        super().__init__(folder, code, reason)
        self.code, self.reason = code, reason
        self.exit_code = 2 if code == 2 else 1

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.reason}"


def run_job(folder: Path, job: Mapping[str, Any], hydra: Any) -> None:
    """Run one job of a multirun in `folder` and wait.

    Args:
        folder: the job's own.
        job: the job's resolved config.
        hydra: the job's `hydra` config.

    Raises:
        JobFailed: it ended with an exit code other than 0.
        RunError: the folder is another run's or another process is at work in it, or the machine has not the GPUs.
    """
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        raise RunError(
            "A job of a multirun starts its ranks itself: "
            "leave hydra.launcher.tasks_per_node and nodes at 1, and give trainer.devices."
        )
    if job["fresh"]:
        with _own(folder):
            claim(folder, job, fresh=True)
    with _own(folder) as log:
        if claim(folder, job) == "finished":
            print(f"{folder} is finished already.", flush=True)
            return
        limit = job["launch"]["slots"]
        with share(job["trainer"], limit, folder.parent, lambda: _say(folder, "waits for a free slot")) as slots:
            _say(folder, f"starts on GPU {','.join(slots.gpus)}" if slots.gpus else "starts")
            _run(folder, hydra, log, slots)
    _say(folder, "is finished")


def _run(folder: Path, hydra: Any, log: BinaryIO, slots: Share) -> None:
    begin, status = log.seek(0, os.SEEK_END), _changed(folder)
    process = subprocess.Popen(
        _command(folder, hydra),
        cwd=hydra.runtime.cwd,
        env=_environment(slots.environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=slots.files,
    )
    shown = hydra.runtime.choices.get("hydra/launcher") == "basic"
    code = _wait(process, _Echo(folder / LOG, begin) if shown else lambda: None)
    if code:
        raise JobFailed(folder, code, _reason(folder, code, begin, _changed(folder) != status))


def _command(folder: Path, hydra: Any) -> list[str]:
    """The command line of the job: in `folder`, with the options about where configs lie, tied to this process."""
    train = [sys.executable, "-m", "nic_lightning.train", *_sources(hydra), *hydra.overrides.task]
    tied_to_this = [sys.executable, "-m", "nic_lightning.runs.machine.ends_with_parent", str(os.getpid())]
    return [*tied_to_this, *train, NO_LOG_FILE, f"hydra.run.dir={quoted(str(folder))}"]


def _sources(hydra: Any) -> list[str]:
    """--config-dir, --config-path and --config-name, as Hydra understood them: workers do not see the command line."""
    options = []
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            options += ["--config-dir", source.path]
        elif source.provider == "main" and Path(source.path) != conf_tree.CONF_DIR:
            options += ["--config-path", source.path]
    if hydra.job.config_name != "train":
        options += ["--config-name", hydra.job.config_name]
    return options


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    left = {**os.environ, "PYTHONUNBUFFERED": "1", **changes}
    if not os.environ.keys().isdisjoint(_SLURM_TASK):
        left["PYTHONWARNINGS"] = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), _NO_HINT]))
    return {k: v for k, v in left.items() if v is not None and k not in (*_DISTRIBUTED, *_SLURM_TASK)}


@contextmanager
def _own(folder: Path) -> Iterator[BinaryIO]:
    """The job's log, locked: as long as a process writes to it, no other job works in the folder."""
    end = time.monotonic() + _PATIENCE  # a job that lost its launcher saves its state before it ends
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("ab") as log:
            if lock(log.fileno()) and _is_at(log, folder / LOG):
                try:
                    yield log
                finally:
                    if not os.fstat(log.fileno()).st_size and _is_at(log, folder / LOG):
                        (folder / LOG).unlink()
                return
        if time.monotonic() > end:
            raise RunError(f"{folder} is in use by another process; end that one first.")
        time.sleep(_POLL)


def _is_at(log: BinaryIO, path: Path) -> bool:
    """Whether `path` still names this open file: another process may have moved or removed it."""
    try:
        return os.path.samestat(os.fstat(log.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _wait(process: subprocess.Popen[bytes], echo: Callable[[], None]) -> int:
    """The exit code of the process. Ctrl-C reaches it by itself: it saves its state; the second one ends it at once."""
    interrupts = 0
    while True:
        try:
            code = process.wait(_POLL)
            break
        except subprocess.TimeoutExpired:
            echo()
        except KeyboardInterrupt:
            interrupts += 1
            if interrupts > 1:
                process.kill()
        except BaseException:  # a launcher's signal handler wants to leave
            process.send_signal(signal.SIGTERM)
            raise
    echo()
    if interrupts:
        raise KeyboardInterrupt
    return code


class _Echo:
    """Prints what a file has grown by."""

    def __init__(self, path: Path, begin: int) -> None:
        self.path, self.position = path, begin
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self.position)
            data = file.read()
        self.position += len(data)
        print(self.decoder.decode(data), end="", flush=True)


def _reason(folder: Path, code: int, begin: int, has_status: bool) -> str:
    """Why the job failed, in one line: a signal, its status, or the last line that it wrote."""
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"killed by {names.get(-code, f'signal {-code}')}"
    if has_status:
        try:
            status = read_status(folder)
        except RunError:
            status = {}
        if status.get("state") == "failed" and status.get("error"):
            return " ".join(str(status["error"]).split())
    with (folder / LOG).open("rb") as file:
        file.seek(max(begin, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}")


def _changed(folder: Path) -> int | None:
    """When status.json was written."""
    try:
        return (folder / "status.json").stat().st_mtime_ns
    except OSError:
        return None


def _say(folder: Path, what: str) -> None:
    print(f"{folder.name} {what}", flush=True)
