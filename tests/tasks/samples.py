"""A small codec to train, and a record of what its steps log."""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from nic_lightning.codecs.loading import build_codec

SMALL = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "width": 6, "lambdas": [64, 512]}


class Losses(pl.Callback):
    """What each step logged."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps[trainer.global_step] = {k: float(v) for k, v in pl_module.latest.items()}


def codec_of(config=SMALL, seed: int = 0):
    torch.manual_seed(seed)
    return build_codec(config).train()
