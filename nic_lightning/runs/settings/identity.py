"""What makes a run what it is: which settings may change between two starts, and what runs have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from nic_lightning.runs.settings.overrides import HARDWARE

IDENTITY = ("seed", "codec", "task", "data", "init_from", "trainer", "callbacks")
"""Config keys that make a run what it is, but for `PLACES`, `TRAINER_FREE` and `CALLBACKS_FREE`."""
PLACES = frozenset({"data.root", "data.workers", "data.cache_mb"})
"""Below them, what says only where and how the same data is read."""
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
    {"nic_lightning.callbacks.translations.TranslationGrid", "nic_lightning.callbacks.best.BestCheckpoint"}
    | {f"pytorch_lightning.callbacks.{name}" for name in ("EarlyStopping", "Timer", "LearningRateMonitor")}
    | {f"pytorch_lightning.callbacks.{name}" for name in ("DeviceStatsMonitor", "ModelSummary", "RichModelSummary")}
)


def another_run(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """What in `new` makes it another run than `old`, as half a sentence; None when it is the same."""
    changes = (first_difference(key, _decisive(key, old), _decisive(key, new)) for key in IDENTITY)
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


def first_difference(path: str, old: Any, new: Any) -> str | None:
    """Half a sentence about the first key below `path` in which two values differ, `PLACES` aside; None: none does."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            change = first_difference(f"{path}.{key}", old.get(key), new.get(key))
            if change:
                return change
        return None
    return None if old == new or path in PLACES else f"{path} is {old!r} there and {new!r} here"


def series(config: Mapping[str, Any] | None) -> str | None:
    """A digest that runs of one recipe and different lambdas have in common; None for a run of several lambdas.

    The lambda is `codec.lmbda`, or the only entry of `codec.lambdas`, or that of the codec that is wrapped,
    `codec.base`; the run that this one came from, `init_from`, then has that lambda, too. All else that decides a run
    is in the digest, and so is how long it trains.
    """
    codec = (config or {}).get("codec")
    if not config or not isinstance(codec, Mapping):
        return None
    base = codec.get("base")
    wraps = isinstance(base, Mapping)
    rest = _without_lambda(base if wraps else codec)
    if rest is None:
        return None
    decisive = {key: _decisive(key, config) for key in IDENTITY if not (wraps and key == "init_from")}
    decisive["codec"] = {**codec, "base": rest} if wraps else rest
    data = decisive["data"] if isinstance(decisive["data"], Mapping) else {}
    decisive["data"] = {key: value for key, value in data.items() if f"data.{key}" not in PLACES}
    trainer = config.get("trainer")
    decisive["length"] = {k: v for k, v in trainer.items() if k in LENGTH} if isinstance(trainer, Mapping) else {}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _without_lambda(codec: Mapping[str, Any]) -> dict[str, Any] | None:
    """A codec's config without its one lambda; None where it has several, or none."""
    lambdas = codec.get("lambdas")
    if "lmbda" in codec:
        return {key: value for key, value in codec.items() if key != "lmbda"}
    if isinstance(lambdas, list) and len(lambdas) == 1:
        return {key: value for key, value in codec.items() if key != "lambdas"}
    return None
