"""What results depend on beside code and seeds, into the run record as soon as it is settled."""

from __future__ import annotations

import pytorch_lightning as pl

from nic_lightning.runs.machine.environment import numerics
from nic_lightning.runs.record.record import RunRecord


class Numerics(pl.Callback):
    """Add GPUs, threads, precision and deterministic switches to environment.json when training begins, on rank 0.

    Not earlier: Lightning sets the number of threads of each rank when it starts them.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record them, and the step that this start begins with."""
        if trainer.is_global_zero:
            self.record.add_environment({**numerics(), "first_step": trainer.global_step})
