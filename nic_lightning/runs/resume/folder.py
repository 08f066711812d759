"""Whether a run may use a folder: new, to be continued, done already, or somebody else's."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from nic_lightning.errors import RunError
from nic_lightning.runs.index.owner import owner, refuse_foreign, stored_config
from nic_lightning.runs.machine.process import other_process
from nic_lightning.runs.record.record import read_status
from nic_lightning.runs.settings.overrides import HARDWARE
from nic_lightning.runs.settings.preflight import check_before_start

IDENTITY = ("seed", "codec", "task", "data", "init_from", "trainer", "callbacks")
"""Config keys that make a run what it is, but for `PLACES`, `TRAINER_FREE` and `CALLBACKS_FREE`."""
PLACES = frozenset({"data.root", "data.workers", "data.cache_mb"})
"""Below them, what says only where and how the same data is read."""
MEASURED = ("codec", "flow", "run")
"""Config keys of nic-evaluate that say what is measured."""
LENGTH = frozenset({"max_steps", "max_epochs", "min_steps", "min_epochs", "max_time"})
"""What of the trainer says how long the same run trains."""
LOOKING = frozenset(
    {"log_every_n_steps", "val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps", "limit_val_batches"}
    | {"limit_test_batches", "limit_predict_batches", "enable_progress_bar", "enable_model_summary", "profiler"}
    | {"enable_checkpointing", "detect_anomaly", "inference_mode", "default_root_dir", "deterministic", "barebones"}
)
"""What of it only looks at training, or writes it down."""
TRAINER_FREE = HARDWARE | LENGTH | LOOKING
"""What may change from one start of a run to the next; every other key of the trainer makes another run."""
DEFAULTS: dict[str, Any] = {
    "accumulate_grad_batches": 1,
    "limit_train_batches": 1.0,
    "overfit_batches": 0.0,
    "reload_dataloaders_every_n_epochs": 0,
    "use_distributed_sampler": False,
    "fast_dev_run": False,
    "gradient_clip_algorithm": "norm",
}
"""What holds where the trainer's config says nothing, or null: to say it makes no other run."""
CALLBACKS_FREE = frozenset(
    {"nic_lightning.callbacks.translations.TranslationGrid"}
    | {f"pytorch_lightning.callbacks.{name}" for name in ("EarlyStopping", "Timer", "LearningRateMonitor")}
    | {f"pytorch_lightning.callbacks.{name}" for name in ("DeviceStatsMonitor", "ModelSummary", "RichModelSummary")}
)
"""Callbacks that only look, draw, or end a run: they may come, go and change. Every other may change training."""
_WORK = ("checkpoints", "metrics.jsonl", "results.parquet", "wandb_id")
"""A run that failed before it made any of these, over a wrong value most likely, is in nobody's way."""


def claim(
    folder: Path, config: Mapping[str, Any], fresh: bool = False, *, here: bool = True
) -> Literal["new", "continue", "finished"]:
    """Decide what a start in `folder` means; with `fresh`, an old run is moved aside, never deleted.

    Raises RunError when the folder holds a run that differs in one of `IDENTITY`, or that another process is at, and
    what `check_before_start` raises unless the run is finished. `here=False`: the run is to start in another working
    folder, so what its config names is not looked for.
    """
    check = check_before_start if here else lambda config: None
    refuse_living(folder)
    if not (fresh and owner(folder) == "evaluation"):
        refuse_foreign(folder, "training")
    if not (folder / "config.yaml").exists():
        check(config)
        return "new"
    if fresh:
        check(config)
        _move_aside(folder)
        return "new"
    try:
        stored = yaml.safe_load((folder / "config.yaml").read_text())
        state = read_status(folder)["state"]
        if not isinstance(stored, Mapping):
            raise RunError("config.yaml is damaged.")
    except (OSError, ValueError, RecursionError, yaml.YAMLError, RunError) as error:
        detail = " ".join(str(error).split())
        raise RunError(f"{folder} holds a damaged run ({detail}); give fresh=true to move it aside.") from error
    change = another_run(stored, config)
    if change and not (state == "failed" and not any((folder / name).exists() for name in _WORK)):
        raise RunError(
            f"{folder} holds another run: {change}; "
            "give name=NAME for a new run, or fresh=true to move the old one aside."
        )
    longer = any(_length(config, key) > _length(stored, key) for key in ("max_steps", "max_epochs"))
    if state == "finished" and not longer:
        return "finished"
    check(config)
    return "continue"


def claim_for_evaluation(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise RunError unless `folder` is new or holds an evaluation of the same thing, which `config` would go on with.

    So a table never holds rows that its config does not describe, and a training's record stays as it is. Settings of
    `flow` are compared by who knows their defaults.
    """
    refuse_living(folder)
    refuse_foreign(folder, "evaluation")
    if not (folder / "results.parquet").exists():
        return
    stored = stored_config(folder)
    if stored is None:
        raise RunError(f"{folder} holds results of unknown origin; give name=NAME or run_dir=PATH.")
    kinds = [{key for key in MEASURED if side.get(key) is not None} for side in (stored, config)]
    pairs = [("codec", stored.get("codec"), config.get("codec")), ("run", _place(stored), _place(config))]
    changes = (_first_difference(*pair) for pair in pairs)
    change = next(filter(None, changes), None) if kinds[0] == kinds[1] else "not the same is measured"
    if change:
        raise RunError(f"{folder} holds results of something else ({change}); give name=NAME or run_dir=PATH.")


def another_run(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """What in `new` makes it another run than `old`, as half a sentence; None when it is the same."""
    changes = (_first_difference(key, _decisive(key, old), _decisive(key, new)) for key in IDENTITY)
    return next(filter(None, changes), None)


def _decisive(key: str, config: Mapping[str, Any]) -> Any:
    """The value of a key of `IDENTITY` without what may change."""
    value = config.get(key)
    if key == "trainer":
        given = value if isinstance(value, Mapping) else {}
        kept = {name: part for name, part in given.items() if name not in TRAINER_FREE}
        return DEFAULTS | {name: part for name, part in kept.items() if part is not None}
    if key == "callbacks":
        given = value if isinstance(value, Mapping) else {}
        return {name: part for name, part in given.items() if not _only_looks(part)}
    return value


def _only_looks(callback: Any) -> bool:
    target = callback.get("_target_") if isinstance(callback, Mapping) else None
    return target is None or str(target).replace("lightning.pytorch.", "pytorch_lightning.") in CALLBACKS_FREE


def refuse_living(folder: Path) -> None:
    """Raise RunError, which names the process, when status.json says that another one is at work in `folder`."""
    try:
        pid = other_process(read_status(folder))
    except RunError:  # damaged, which is no sign of life
        return
    if pid:
        doing = "measured" if owner(folder) == "evaluation" else "trained"
        raise RunError(f"{folder} is being {doing} by process {pid}; wait for it, or end it and start again.")


def _place(config: Mapping[str, Any]) -> str | None:
    run = config.get("run")
    return None if run is None else os.path.realpath(str(run))


def _move_aside(folder: Path) -> None:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = [f"{folder.name}.replaced-{stamp}", *(f"{folder.name}.replaced-{stamp}-{i}" for i in range(2, 100))]
    folder.rename(next(p for p in map(folder.with_name, names) if not p.exists()))


def _length(config: Mapping[str, Any], key: str) -> float:
    trainer = config.get("trainer")
    value = trainer.get(key) if isinstance(trainer, Mapping) else None
    return value if isinstance(value, int | float) and value >= 0 else math.inf  # -1 and null: without end


def _first_difference(path: str, old: Any, new: Any) -> str | None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            change = _first_difference(f"{path}.{key}", old.get(key), new.get(key))
            if change:
                return change
        return None
    return None if old == new or path in PLACES else f"{path} is {old!r} there and {new!r} here"
