"""The best state of training so far, beside the last one."""

from __future__ import annotations

from typing import Any, ClassVar

import pytorch_lightning as pl

from nic_lightning.callbacks.checkpoint import Checkpoints
from nic_lightning.callbacks.watching import Watching

BEST = "best.ckpt"


class BestCheckpoint(Watching):
    """Keep checkpoints/best.ckpt: the whole state as it was validated best.

    It is written when the next step begins, or at the end of training, as weights and quantiles are in training then.
    A resumed run goes on with the value that it knew.

    Args:
        monitor: a metric of validation, in full ("val/kodak/psnr@512") or without the set's name ("loss", "psnr@512").
        mode: "min" or "max".
    """

    called: ClassVar[str] = "best"

    def __init__(self, monitor: str = "loss", mode: str = "min") -> None:
        super().__init__(monitor, mode)
        self._due = False

    def looked(self, trainer: pl.Trainer, better: bool) -> None:
        """Keep in mind that there is something to write."""
        self._due = self._due or better

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write what the last validation found the best."""
        self._write(trainer, between_steps=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write it, where that validation was the last thing."""
        self._write(trainer, between_steps=False)

    def _write(self, trainer: pl.Trainer, between_steps: bool) -> None:
        if self._due:
            self._due = False
            callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
            next(c for c in callbacks if isinstance(c, Checkpoints)).write(trainer, BEST, between_steps)
