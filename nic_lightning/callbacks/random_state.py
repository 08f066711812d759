"""Random state of every rank in the checkpoint, so that a resumed run draws the noise it would have drawn."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed


class RandomState(pl.Callback):
    """Save the generators of torch, CUDA, Python and NumPy of each rank; restore them before the first resumed step.

    A new run's ranks begin with equal weights, from one seed, and go on with noise of their own.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Gather the states of all ranks as tensors and plain values."""
        mine = _state() if self._pending is None else self._pending  # no step was made since it was loaded
        states: list[Any] = [mine]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, mine)
        checkpoint["random_state"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep this rank's state; with another number of ranks there is none that fits."""
        states = checkpoint.get("random_state") or []
        self._pending = states[trainer.global_rank] if len(states) == trainer.world_size else None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let ranks differ in their quantisation noise."""
        if trainer.global_rank and self._pending is None:
            torch.manual_seed((torch.initial_seed() + 1_000_003 * trainer.global_rank) % 2**63)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore once, as late as possible: setting up and validating draw numbers of their own."""
        if self._pending is not None:
            _restore(self._pending)
            self._pending = None


def _state() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": list(random.getstate()),
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
