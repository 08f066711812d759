"""When the whole state of training is written, and how: by steps, by minutes, on a signal; whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from nic_lightning.callbacks.ending import time_is_up
from nic_lightning.callbacks.loop_state import stand_between_steps
from nic_lightning.errors import Interrupted, RunError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.checkpoints import LAST, PREVIOUS

AGREE_EVERY = 10
"""Steps between two questions among ranks whether one of them wants to save: a question makes a GPU wait."""


class Stopped(Interrupted):
    """Training ended on SIGTERM, its state saved."""

    exit_code = 128 + signal.SIGTERM


class Checkpoints(pl.Callback):
    """Keep `folder`/last.ckpt current, and the one before it as previous.ckpt.

    Saved between two steps: after the metrics of the last step are logged and its validation is done, before the next
    one begins. The length of metrics.jsonl goes into the checkpoint, and a resumed run cuts the file to it, so that
    its lines continue without gap or repeat.

    SIGUSR1 saves and goes on; under Slurm the job is put into the queue again, and ends. SIGTERM saves and ends.
    In distributed training one rank's signal is enough.

    Args:
        folder: where the checkpoints lie.
        every_n_steps: optimiser steps between two; None: not by steps.
        every_n_minutes: minutes between two; None: not by time.
        record: the run record, on every rank; only rank 0 touches it. None: no metrics to keep in step.
        max_seconds: of training in one start; then the state is saved and training ends. None: no limit.
    """

    def __init__(
        self,
        folder: Path,
        every_n_steps: int | None = 1000,
        every_n_minutes: float | None = None,
        record: RunRecord | None = None,
        max_seconds: float | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.max_seconds = max_seconds
        self.ended_by: str | None = None
        """Who ended training for good before its last step; with it in the checkpoint, the run does not go on."""
        self._started = time.monotonic()
        self.every_n_steps, self.every_n_minutes, self.record = every_n_steps, every_n_minutes, record
        self._saved_at_step, self._saved_at_time = 0, time.monotonic()
        self._between_steps = False
        self._signals: set[int] = set()
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals, now that Lightning has set its own handlers: they would end a run without saving it."""
        self._saved_at_step, self._saved_at_time = trainer.global_step, time.monotonic()
        self._started = self._saved_at_time
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGUSR1):
                self._handlers[number] = signal.signal(number, self._note)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what the steps so far have made, if it is time."""
        if self.record is not None:
            self.record.began = True
        step = trainer.global_step
        if step == self._saved_at_step:  # nothing new, or in the middle of accumulating gradients
            return
        stop, asked, due, over = self._wishes(trainer, step)
        if stop or asked or due or over or (self.every_n_steps and step % self.every_n_steps == 0):
            self.save(trainer, between_steps=True)
        if asked and "SLURM_JOB_ID" in os.environ:
            if trainer.is_global_zero:
                requeue()
            stop = True
        if stop:
            raise Stopped(f"Stopped by a signal after step {step}; the same command continues the run.")
        if over:
            raise time_is_up(step, "trainer.max_time")

    def save(self, trainer: pl.Trainer, between_steps: bool = False) -> None:
        """Write last.ckpt; every rank has to call it."""
        self.write(trainer, LAST, between_steps)
        self._saved_at_step, self._saved_at_time = trainer.global_step, time.monotonic()

    def write(self, trainer: pl.Trainer, name: str, between_steps: bool) -> None:
        """Write the whole state into a file of the folder; every rank has to call it."""
        self._between_steps = between_steps
        try:
            trainer.save_checkpoint(self.folder / name)
        finally:
            self._between_steps = False

    def _wishes(self, trainer: pl.Trainer, step: int) -> tuple[bool, ...]:
        """Whether any rank was told to stop, was told to save, sees that it is time to save, or that time is up."""
        seconds, now = (self.every_n_minutes or 0) * 60, time.monotonic()
        due = bool(seconds) and now - self._saved_at_time >= seconds
        over = self.max_seconds is not None and now - self._started >= self.max_seconds and _may_stop(trainer)
        wishes = [signal.SIGTERM in self._signals, signal.SIGUSR1 in self._signals, due, over]
        if trainer.world_size > 1:
            if step % AGREE_EVERY:
                return False, False, False, False
            shared = torch.tensor(wishes, dtype=torch.int32, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
            wishes = [bool(wish) for wish in shared.tolist()]
        self._signals.clear()
        return tuple(wishes)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add how far metrics.jsonl reaches, and let training stand between two steps, at its end too."""
        if self.record is not None and trainer.is_global_zero:
            checkpoint["metrics_bytes"] = self.record.metrics_bytes()
            self.record.steps = trainer.global_step
        if self.ended_by is not None:
            checkpoint["ended"] = {"by": self.ended_by, "length": _length(trainer)}
        batches, accumulate = trainer.num_training_batches, trainer.accumulate_grad_batches
        stand_between_steps(checkpoint, batches, accumulate, fetched=self._between_steps)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Cut off the metrics that the resumed run will log again; end at once what is not to go on."""
        ended = checkpoint.get("ended")
        if isinstance(ended, dict) and ended.get("length") == _length(trainer):
            self.ended_by, trainer.should_stop = str(ended.get("by")), True
        length = checkpoint.get("metrics_bytes")
        if self.record is not None and trainer.is_global_zero and isinstance(length, int):
            self.record.cut_metrics(length)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back, unless Lightning has: its handlers would swallow them in the evaluation to come."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._handlers.clear()

    def _note(self, number: int, frame: Any) -> None:
        self._signals.add(number)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to the disk, then rename; the last.ckpt before it stays as previous.ckpt.

    Lightning's own way goes through the folder of temporary files, which is often another file system, where the move
    is a copy that a kill can cut, and holds the whole checkpoint in memory a second time.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises RunError when the disk is full or the folder cannot be written; what was there is then intact."""
        path = Path(path)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.exists() and path.name == LAST:
                _replace_by_link(path, path.with_name(PREVIOUS))
            os.replace(temporary, path)
            _flush_folder(path.parent)
        except (OSError, RuntimeError) as error:
            _forget(temporary)
            reason = _reason(error, path.parent)
            if reason is None:
                raise
            raise RunError(
                f"The checkpoint {path} could not be written: {reason}. "
                + (
                    "The earlier one is intact; the same command continues from it."
                    if path.exists()
                    else "It is the first."
                )
            ) from error
        except BaseException:
            _forget(temporary)
            raise


def _may_stop(trainer: pl.Trainer) -> bool:
    """Whether `min_steps`, else `min_epochs`, are behind: where only the former is given, Lightning sets the latter."""
    loop = trainer.fit_loop
    if loop.min_steps is not None:
        return trainer.global_step >= loop.min_steps
    return trainer.current_epoch >= (loop.min_epochs or 0)


def _length(trainer: pl.Trainer) -> list[int | None]:
    return [trainer.max_steps, trainer.max_epochs]


def requeue(run: Callable[..., Any] = subprocess.run) -> None:
    """Ask Slurm to start this job again; a sentence on stderr when it refuses."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    try:
        run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = " ".join(str(getattr(error, "stderr", "") or error).split())
        print(f"Slurm did not put job {job} into the queue again: {detail}. Submit it once more.", file=sys.stderr)


def _replace_by_link(source: Path, target: Path) -> None:
    """Let `target` name the file that `source` names; `source` is never missing on the way."""
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _reason(error: OSError | RuntimeError, folder: Path) -> str | None:
    """What the disk said; None when it was not the disk. torch's writer raises a RuntimeError of its own."""
    if isinstance(error, RuntimeError) and not any(word in str(error) for word in ("write", "inline_container")):
        return None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.strerror
        cause = cause.__context__
    return f"{shutil.disk_usage(folder).free / 2**20:.0f} MiB are left on its disk"
