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
from nic_lightning.runs.settings.identity import another_run, first_difference
from nic_lightning.runs.settings.preflight import check_before_start

MEASURED = ("codec", "flow", "run")
"""Config keys of nic-evaluate that say what is measured."""
"""Callbacks that only look, draw, or end a run: they may come, go and change. Every other may change training."""
_NOT_MEASURED = ("logger", "device", "batch", "name", "run_dir", "tags")
"""Config keys of nic-analyze that change no result."""
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
    changes = (first_difference(*pair) for pair in pairs)
    change = next(filter(None, changes), None) if kinds[0] == kinds[1] else "not the same is measured"
    if change:
        raise RunError(f"{folder} holds results of something else ({change}); give name=NAME or run_dir=PATH.")


def claim_for_analysis(folder: Path, config: Mapping[str, Any]) -> Literal["new", "finished"]:
    """Decide what `nic-analyze` means in `folder`; an analysis that ended early begins anew.

    Raises RunError when the folder belongs to something else, holds an analysis of other settings, or another process
    is at it.
    """
    refuse_living(folder)
    refuse_foreign(folder, "analysis")
    if not (folder / "config.yaml").exists():
        return "new"
    stored = stored_config(folder)
    try:
        finished = stored is not None and read_status(folder)["state"] == "finished"
    except RunError:
        finished = False
    if not finished or stored is None:
        return "new"
    for key in (key for key in config if key not in _NOT_MEASURED):
        if change := first_difference(key, stored.get(key), config[key]):
            raise RunError(f"{folder} holds another analysis: {change}; give name=NAME or run_dir=PATH.")
    return "finished"


def refuse_living(folder: Path) -> None:
    """Raise RunError, which names the process, when status.json says that another one is at work in `folder`."""
    try:
        pid = other_process(read_status(folder))
    except RunError:  # damaged, which is no sign of life
        return
    if pid:
        doing = {"evaluation": "measured", "analysis": "analysed"}.get(owner(folder) or "", "trained")
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
