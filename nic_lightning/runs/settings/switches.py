"""Switches of Lightning's trainer that mean something else here, or nothing: refused in a sentence before the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nic_lightning.config import ConfigError
from nic_lightning.runs.settings.limits import seconds_of

PROFILERS = ("simple", "advanced", "pytorch")
SET_BY_US = {
    "logger": "choose one with logger=NAME",
    "callbacks": "add callbacks with +callbacks.NAME={_target_: ...}",
    "plugins": "leave it out",
    "default_root_dir": "run_dir=PATH says where the run lies",
    "enable_checkpointing": "checkpoint.every_n_steps and every_n_minutes say when the state is saved",
    "enable_progress_bar": "leave it out",
}
"""Keywords that nic-train gives to the trainer itself, and the way out."""
_OTHERWISE = {
    "fast_dev_run": "would record a whole run: give name=try trainer.max_steps=5 +trainer.limit_val_batches=1",
    "barebones": "trains without loggers and callbacks, and so without checkpoints: nic bench training measures these",
    "use_distributed_sampler": "would deal out the samples twice: the sampler of the data does it already",
}
"""Switches that are refused where they are on, and why."""


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a switch that Lightning, or this program, cannot use."""
    for key, way_out in SET_BY_US.items():
        if key in trainer:
            raise ConfigError(f"trainer.{key} is set by nic-train itself: {way_out}.")
    for key, reason in _OTHERWISE.items():
        if trainer.get(key):
            raise ConfigError(f"trainer.{key}={trainer[key]} {reason}.")
    profiler = trainer.get("profiler")
    if profiler is not None and profiler not in PROFILERS:
        raise ConfigError(f"trainer.profiler is {profiler!r}; it can be {', '.join(PROFILERS)}.")
    if trainer.get("limit_train_batches") == 0:
        raise ConfigError("trainer.limit_train_batches=0 leaves no batch to train on.")
    for key in ("check_val_every_n_epoch", "accumulate_grad_batches", "val_check_interval"):
        value = trainer.get(key)
        if isinstance(value, int | float) and value <= 0:
            raise ConfigError(f"trainer.{key} has to be more than 0, not {value}; null leaves it to Lightning.")
    seconds_of(trainer.get("max_time"))


def lightning_options(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of Lightning's trainer, without what we see to ourselves.

    `max_time` is that of `Checkpoints`, which continues exactly. Of `overfit_batches` the data repeats its first epoch
    (`repeats_first_epoch`), of which the trainer takes so many batches: Lightning would put a sampler of its own in
    place of ours.
    """
    options = {key: value for key, value in trainer.items() if key not in ("max_time", "overfit_batches", "profiler")}
    options.setdefault("use_distributed_sampler", False)
    if repeats_first_epoch(trainer):
        options["limit_train_batches"] = trainer["overfit_batches"]
        if isinstance(trainer["overfit_batches"], int):
            options.setdefault("limit_val_batches", trainer["overfit_batches"])
    return options


def repeats_first_epoch(trainer: Mapping[str, Any]) -> bool:
    """Whether every epoch shows the crops of the first one: `overfit_batches` asks for it."""
    return bool(trainer.get("overfit_batches"))
