"""What a run would stumble over only after its training, or deep inside a library: looked at before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from nic_lightning.conf_tree import places_of
from nic_lightning.config import ConfigError, options
from nic_lightning.machine import surely_no_gpu
from nic_lightning.metrics.weights import require_lpips
from nic_lightning.runs.settings.sources import check_accelerator, check_data, check_sets
from nic_lightning.runs.settings.switches import check_trainer
from nic_lightning.targets import alternatives
from nic_lightning.zoo import no_source, source_of


def check_before_start(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a name, codec, checkpoint or evaluation that cannot work; what is absent is not judged.

    Takes milliseconds and imports no torch: data sets are located, not read.
    """
    _check_name(config.get("name"))
    codec = str((config.get("codec") or {}).get("_target_"))
    if codec.startswith("nic_lightning.baselines."):
        raise ConfigError(f"{codec} is a classic codec with nothing to train; nic-evaluate codec=NAME measures it.")
    _at_least("codec.width", (config.get("codec") or {}).get("width"), 1)
    for key, value in (config.get("task") or {}).items():
        if key.endswith("learning_rate") and isinstance(value, int | float) and not 0 <= value < math.inf:
            raise ConfigError(f"task.{key} has to be 0 or more, not {value}: training would run away from its goal.")
    checkpoint = config.get("ckpt_path")
    if checkpoint and not Path(checkpoint).is_file():
        raise ConfigError(f"ckpt_path={checkpoint} is no file; leave it out to continue a run in its own folder.")
    check_trainer(config.get("trainer") or {})
    evaluation = config.get("evaluation") or {}
    check_counts(evaluation)
    check_lpips(evaluation)
    check_accelerator((config.get("trainer") or {}).get("accelerator"))
    init = config.get("init_from")
    if init and not source_of(init).exists():
        raise ConfigError(f"init_from={no_source(init)}")
    check_data(config.get("data") or {})
    check_sets(evaluation.get("datasets"), (config.get("data") or {}).get("root"))
    for name in evaluation.get("baselines") or ():
        _check_baseline(name)


def check_evaluation(config: Mapping[str, Any]) -> None:
    """The same for a config of `nic-evaluate` that measures a codec."""
    evaluation = config.get("evaluation") or {}
    if str(config.get("device")).startswith("cuda") and surely_no_gpu():
        raise ConfigError(f"There is no GPU for device={config['device']}; device=cpu does without.")
    check_lpips(evaluation)
    check_sets(evaluation.get("datasets"), config.get("root"))
    for name in evaluation.get("baselines") or ():
        _check_baseline(name)


def check_counts(evaluation: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for numbers of images with which an evaluation would measure nothing."""
    _at_least("evaluation.limit", evaluation.get("limit"), 1)
    _at_least("evaluation.workers", evaluation.get("workers"), 1)
    _at_least("evaluation.save_images", evaluation.get("save_images"), 0)


def check_lpips(evaluation: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a wish for LPIPS that is none, DataError where its weights are not there."""
    wish = evaluation.get("lpips")
    if not (wish is None or isinstance(wish, bool | str)):
        raise ConfigError(f"evaluation.lpips={wish} is neither true, nor false, nor a file of weights.")
    if wish is True and evaluation.get("datasets"):
        require_lpips()


def _check_name(name: Any) -> None:
    if name is None:
        return
    path = PurePath(str(name))
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"name={name} names no folder inside runs/; run_dir=PATH puts a run elsewhere.")


def _at_least(key: str, value: Any, least: int) -> None:
    if isinstance(value, int) and value < least:
        raise ConfigError(f"{key} has to be at least {least}, not {value}.")


def _check_baseline(name: str) -> None:
    import yaml

    classic = [
        codec
        for codec in options("codec")
        if "baselines" in str(yaml.safe_load(places_of("codec", codec)[0].read_text()).get("_target_"))
    ]
    if name not in classic:
        raise ConfigError(f"evaluation.baselines: there is no classic codec '{name}'{alternatives(name, classic)}.")
