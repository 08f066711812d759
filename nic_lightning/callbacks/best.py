"""The best state of training so far, beside the last one."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from nic_lightning.callbacks.checkpoint import Checkpoints
from nic_lightning.errors import UserError, choices

BEST = "best.ckpt"


class BestCheckpoint(pl.Callback):
    """Keep checkpoints/best.ckpt: the whole state as it was validated best.

    It is written when the next step begins, or at the end of training, as weights and quantiles are in training then.
    A resumed run goes on with the value that it knew.

    Args:
        monitor: a metric of validation, in full ("val/kodak/psnr@512") or without the set's name ("loss", "psnr@512").
        mode: "min" or "max".
    """

    def __init__(self, monitor: str = "loss", mode: str = "min") -> None:
        if mode not in ("min", "max"):
            raise UserError(f"The callback best has mode {mode!r}; it can be min or max.")
        self.monitor, self.mode = monitor, mode
        self.best: float | None = None
        self._due = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See whether this was the best one; UserError where there is no such metric."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        value = self._value(trainer)
        sign = 1.0 if self.mode == "min" else -1.0
        if math.isfinite(value) and (self.best is None or sign * value < sign * self.best):
            self.best, self._due = value, True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write what the last validation found the best."""
        self._write(trainer, between_steps=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it, where that validation was the last thing."""
        self._write(trainer, between_steps=False)

    def state_dict(self) -> dict[str, Any]:
        """The value that best.ckpt has."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.best = state_dict["best"]

    def _write(self, trainer: pl.Trainer, between_steps: bool) -> None:
        if self._due:
            self._due = False
            callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
            next(c for c in callbacks if isinstance(c, Checkpoints)).write(trainer, BEST, between_steps)

    def _value(self, trainer: pl.Trainer) -> float:
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        found = metrics.get(self.monitor)
        if found is None:
            found = next((v for name, v in metrics.items() if name.endswith(f"/{self.monitor}")), None)
        if found is None:
            raise UserError(f"The callback best monitors {self.monitor!r}; {choices(self.monitor, metrics)}.")
        return float(found)
