"""When the whole state of training is written."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path

from pytorch_lightning.callbacks import ModelCheckpoint


def checkpoints(folder: Path, every_n_steps: int | None, every_n_minutes: float | None) -> list[ModelCheckpoint]:
    """Callbacks that keep `folder`/last.ckpt current, by steps, by minutes, or both. Lightning writes atomically."""
    callbacks = []
    if every_n_steps:
        callbacks.append(_Last(dirpath=folder, filename="last", every_n_train_steps=every_n_steps))
    if every_n_minutes:
        callbacks.append(_Last(dirpath=folder, filename="last", train_time_interval=timedelta(minutes=every_n_minutes)))
    return callbacks


class _Last(ModelCheckpoint):
    def __init__(self, **cadence) -> None:
        super().__init__(**cadence, save_top_k=1, monitor=None, enable_version_counter=False, save_weights_only=False)

    def setup(self, *args, **kwargs) -> None:
        """Lightning's own, without its warning that the folder is not empty: it holds what this run continues."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists")
            super().setup(*args, **kwargs)
