"""Deterministic mode: the same numbers again from the same run on the same hardware."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from nic_lightning.runs.settings.switches import lightning_options

COST = "Deterministic: the same result again on this hardware; slower on a GPU, an error where there is no such kernel."


def trainer_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of Lightning's trainer: those of the config, with the switches of `deterministic: true`.

    Lightning then sets `torch.use_deterministic_algorithms` and CUBLAS_WORKSPACE_CONFIG, in every rank. cuDNN may not
    choose its kernels by timing them. On a CPU all kernels in use are deterministic already, for a fixed number of
    threads.
    """
    options = lightning_options(config["trainer"])
    return {**options, "deterministic": True, "benchmark": False} if config.get("deterministic") else options


def say_cost(config: Mapping[str, Any]) -> None:
    """One line on stderr that the mode is on, and what it costs."""
    if config.get("deterministic"):
        print(COST, file=sys.stderr)
