"""What to do when validation stops getting better: lower the learning rates, or stop."""

from __future__ import annotations

import logging
from typing import ClassVar

import pytorch_lightning as pl

from nic_lightning.callbacks.watching import Watching, require_patience
from nic_lightning.errors import UserError

log = logging.getLogger(__name__)


class LowerOnPlateau(Watching):
    """Multiply all learning rates by a factor after some validations that were not better than the best one.

    Counting starts anew then. Schedules multiply the rates that are there, so what is lowered stays lowered.

    Args:
        patience: validations to wait.
        factor: below 1.
        least: no learning rate is lowered below that.
        monitor: a metric of validation, in full ("val/kodak/psnr@512") or without the set's name ("loss", "psnr@512").
        mode: "min" or "max".
        threshold: by how much a value has to be better than the best one, in the metric's unit.
    """

    called: ClassVar[str] = "plateau"

    def __init__(
        self,
        patience: int = 5,
        factor: float = 0.5,
        least: float = 0.0,
        monitor: str = "loss",
        mode: str = "min",
        threshold: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, threshold)
        require_patience(patience, self.called)
        if not 0 < factor < 1 or least < 0:
            raise UserError(f"The callback plateau has a factor of {factor:g} and a least rate of {least:g}; give a "
                            "factor above 0 and below 1, and a rate of 0 or more.")  # fmt: skip
        self.patience, self.factor, self.least = patience, factor, least

    def looked(self, trainer: pl.Trainer, better: bool) -> None:
        """Lower the rates where it is time."""
        if self.since < self.patience:
            return
        self.since = 0
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = max(group["lr"] * self.factor, min(self.least, group["lr"]))
        log.info("%s was not better for %d validations: learning rates times %g.",
                 self.monitor, self.patience, self.factor)  # fmt: skip


class StopOnPlateau(Watching):
    """End training after some validations that were not better than the best one.

    The run is finished then, as if `trainer.max_steps` had been reached: its last state is kept and measured.

    Args:
        patience: validations to wait.
        monitor: a metric of validation, in full ("val/kodak/psnr@512") or without the set's name ("loss", "psnr@512").
        mode: "min" or "max".
        threshold: by how much a value has to be better than the best one, in the metric's unit.
    """

    called: ClassVar[str] = "early_stopping"

    def __init__(self, patience: int = 20, monitor: str = "loss", mode: str = "min", threshold: float = 0.0) -> None:
        super().__init__(monitor, mode, threshold)
        require_patience(patience, self.called)
        self.patience = patience

    def looked(self, trainer: pl.Trainer, better: bool) -> None:
        """Stop where it is time."""
        if self.since >= self.patience and not trainer.should_stop:
            trainer.should_stop = True
            log.info("%s was not better for %d validations: training ends.", self.monitor, self.since)
