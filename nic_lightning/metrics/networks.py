"""Measures of single inputs that need a network: those of a medium that are installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from nic_lightning.media.base import Medium
from nic_lightning.metrics.lpips import load_lpips

LOADERS: Mapping[str, Callable[[str | Path | None], nn.Module | None]] = {"lpips": load_lpips}
"""By the column of their values; None of a network whose weights are not there, which the loader says."""


def networks_of(medium: Medium, paths: Mapping[str, str | None]) -> dict[str, nn.Module]:
    """The networks that measure qualities of a medium, by column; `paths` are files of weights that the user named."""
    loaded = {key: LOADERS[key](paths.get(key)) for key in medium.measured if key in LOADERS}
    return {key: network for key, network in loaded.items() if network is not None}
