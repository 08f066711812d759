"""The W&B record of a run that has ended, for what is measured of it later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.loggers.chosen import wandb_settings
from nic_lightning.runs.loggers.wandb import finish_wandb, log_results_to_wandb, wandb_logger


def add_to_wandb(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]], figures: Mapping[str, Path]) -> bool:
    """Put tables and figures into the W&B record of a run folder, under the run's own id; whether it was tried.

    Nothing is done for a run that was not logged to W&B, or is being trained: W&B takes one writer at a time. The
    modes are those of `wandb_logger`, so that no network is needed; a failure is one warning.

    Args:
        folder: the run folder.
        tables: name -> rows, shown as `results/<name>`.
        figures: name -> picture, shown as `results/<name>`.
    """
    run = read_run(folder)
    logger = wandb_settings((run.config or {}).get("logger"))
    if not (folder / "wandb_id").is_file() or logger is None or run.state == "running":
        return False
    project, mode, name = (logger.get(key) for key in ("project", "mode", "name"))
    opened = wandb_logger(
        folder,
        project=project if isinstance(project, str) and project else "nic_lightning",
        mode=mode if isinstance(mode, str) else None,
        name=name if isinstance(name, str) else None,
    )
    log_results_to_wandb(opened, [], figures, {}, tables)
    finish_wandb(opened)
    return opened is not None
