"""What callbacks share that follow a metric of validation."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytorch_lightning as pl

from nic_lightning.errors import UserError, choices


class Watching(pl.Callback):
    """Keeps the best value so far of a metric; a resumed run goes on with what it knew.

    Args:
        monitor: a metric of validation, in full ("val/kodak/psnr@512") or without the set's name ("loss", "psnr@512").
        mode: "min" or "max".
        threshold: by how much a value has to be better than the best one, in the metric's unit.
    """

    called: ClassVar[str]
    """The callback's name in configs, for sentences."""

    def __init__(self, monitor: str = "loss", mode: str = "min", threshold: float = 0.0) -> None:
        if mode not in ("min", "max"):
            raise UserError(f"The callback {self.called} has mode {mode!r}; it can be min or max.")
        if not 0 <= threshold < math.inf:
            raise UserError(f"The callback {self.called} has a threshold of {threshold:g}; give 0 or more.")
        self.monitor, self.mode, self.threshold = monitor, mode, threshold
        self.best: float | None = None
        self.since = 0
        """Validations since the best one."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the value; UserError where there is no such metric."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        value, sign = self._value(trainer), 1.0 if self.mode == "min" else -1.0
        better = math.isfinite(value) and (self.best is None or sign * value < sign * self.best - self.threshold)
        self.since = 0 if better else self.since + 1
        if better:
            self.best = value
        self.looked(trainer, better)

    def looked(self, trainer: pl.Trainer, better: bool) -> None:
        """Called after each validation, when `best` and `since` are up to date."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What is known so far."""
        return {"best": self.best, "since": self.since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.best, self.since = state_dict["best"], int(state_dict.get("since", 0))

    def _value(self, trainer: pl.Trainer) -> float:
        metrics = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        found = metrics.get(self.monitor)
        if found is None:
            found = next((v for name, v in metrics.items() if name.endswith(f"/{self.monitor}")), None)
        if found is None:
            raise UserError(f"The callback {self.called} monitors {self.monitor!r}; {choices(self.monitor, metrics)}.")
        return float(found)


def require_patience(patience: int, called: str) -> None:
    """Raise UserError for less than one validation."""
    if patience < 1:
        raise UserError(f"The callback {called} has a patience of {patience}; give 1 validation or more.")
