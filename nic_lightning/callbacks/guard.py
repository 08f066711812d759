"""A run that diverges stops before it writes what it has become, and may go on from before, more slowly."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from nic_lightning.errors import RunError
from nic_lightning.runs.resume.checkpoints import newest_intact
from nic_lightning.runs.resume.restarts import add_restart, learning_rate_scale, read_restarts

LOOK_EVERY = 50
"""Steps between two looks on an accelerator, where each look makes it wait. On a CPU every step is looked at."""


class DivergenceError(RunError):
    """Training met NaN or infinity: `step`, and what was not finite."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"Training diverged: {reason} at step {step} is not finite.")
        self.step, self.reason = step, reason


class Guard(pl.Callback):
    """Stop on NaN and infinity, naming the step and the operating point; never save weights that hold them.

    What is looked at is `task.latest`: the rate and the distortion of each operating point, and the norm of the
    gradient where it is clipped. The first bad step of each is kept on the device, so that nothing waits for it.

    Args:
        scale: what the learning rates are to be multiplied with, after restarts; see `runs/resume/restarts.py`.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self._in_checkpoint = scale, 1.0
        self._names: list[str] = []
        self._first_bad: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """The scale that the checkpoint's learning rates already have."""
        return {"scale": self.scale}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._in_checkpoint = float(state_dict["scale"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lower the learning rates by what restarts ask for and the checkpoint does not have yet."""
        factor = self.scale / self._in_checkpoint
        if factor != 1.0:
            for optimizer in trainer.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] *= factor
            for config in trainer.lr_scheduler_configs:
                schedule: Any = config.scheduler
                schedule.base_lrs = [rate * factor for rate in schedule.base_lrs]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note what is not finite."""
        latest: dict[str, Tensor] = getattr(pl_module, "latest", {})
        if not latest:
            return
        values = torch.stack([value.detach().float() for value in latest.values()])
        if self._first_bad is None or self._names != list(latest):  # a task may have more to log later on
            self.look()
            self._names = list(latest)
            self._first_bad = torch.full_like(values, -1, dtype=torch.long)
        bad = ~values.isfinite() & (self._first_bad < 0)
        self._first_bad = torch.where(bad, trainer.global_step - 1, self._first_bad)
        if values.device.type == "cpu" or trainer.global_step % LOOK_EVERY == 0:
            self.look()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse: a checkpoint of weights that are not finite would replace one from which training can go on."""
        self.look()
        for name, value in checkpoint["state_dict"].items():
            # Bounds may be infinite by design; weights may not.
            if name in dict(pl_module.named_parameters()) and not value.isfinite().all():
                raise DivergenceError(trainer.global_step - 1, f"the parameter {name}")

    def look(self) -> None:
        """Raise DivergenceError if anything was not finite, for the first step at which it was not."""
        if self._first_bad is None:
            return
        steps = self._first_bad.tolist()
        found = [(step, name) for step, name in zip(steps, self._names, strict=True) if step >= 0]
        if found:
            first = min(step for step, _ in found)
            names = [name.removeprefix("train/") for step, name in found if step == first]
            points = sorted({name.partition("@")[2] for name in names if "@" in name}, key=_as_number)
            at = f" (operating point {', '.join(points)})" if points else ""
            raise DivergenceError(first, f"{', '.join(names[:4])}{' and others' if len(names) > 4 else ''}{at}")


def out_of_memory(error: BaseException, folder: Path) -> RunError | None:
    """The sentence for an allocation that failed, on a GPU or on the CPU; None for another error."""
    if not (isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)):
        return None
    where = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "Memory"
    return RunError(
        f"{where} ran out: lower data.batch_size or data.crop, for translation raise task.accumulate, or free the "
        f"device. {_last_good(folder)} "
        "A run of another batch size is another run: give name=NAME."
    )


def start_again_lower(error: DivergenceError, folder: Path, restarts: int, lower: float) -> None:
    """Replace this process by one that continues from the last good checkpoint at `lower` times the learning rate.

    Raises RunError when `restarts` are used up. torchrun starts all ranks again by itself once this one has ended,
    with the lower rate noted; so `error` is raised there.
    """
    if len(read_restarts(folder)) >= restarts:
        raise RunError(
            f"{error} {_last_good(folder)} The same command with guard.restarts={restarts + 1} goes on from there at "
            f"{lower:g} times the learning rate."
        ) from error
    scale = learning_rate_scale(folder) * lower
    add_restart(folder, error.step, error.reason, scale)
    print(f"{error} {_last_good(folder)} Going on from there at {scale:g} times the learning rate.", file=sys.stderr)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise error
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _last_good(folder: Path) -> str:
    try:
        path, _ = newest_intact(folder)
    except RunError as error:
        return str(error)
    return f"The last good checkpoint is {path}." if path else "There is no checkpoint yet but the start."


def _as_number(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return 0.0, label
