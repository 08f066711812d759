"""A checkpoint of a tiny codec, to be saved whole or damaged."""

from __future__ import annotations

import torch

from nic_lightning.codecs.loading import build_codec

CONFIG = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "width": 4, "lambdas": [64, 512]}


def checkpoint(config: dict | None = None, update: bool = True) -> dict:
    """What a training run writes, as far as a decoder cares."""
    torch.manual_seed(0)
    codec = build_codec(CONFIG if config is None else config)
    state = {f"codec.{k}": v.clone() for k, v in codec.state_dict().items()}
    if update:
        codec.update_tables()
    tables = {k: v for k, v in codec.state_dict().items() if k.startswith("entropy_")}
    return {"codec": {"config": dict(CONFIG if config is None else config), "tables": tables}, "state_dict": state}
