"""restarts.json of a run: how often training began again at a lower learning rate, after it had diverged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.runs.record.files import read_inside, write_atomically

_NAME = "restarts.json"
_LIMIT = 2**20


def read_restarts(folder: Path) -> list[dict[str, Any]]:
    """The restarts so far, first to last: "step" (where it diverged), "reason", "learning_rate_scale"."""
    if not (folder / _NAME).exists():
        return []
    try:
        entries = json.loads(read_inside(folder, _NAME, _LIMIT))
        scales = [entry["learning_rate_scale"] for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{folder / _NAME} is damaged; remove it to go on at the full learning rate.") from error
    if not all(isinstance(scale, float) and 0 < scale <= 1 for scale in scales):
        raise RunError(f"{folder / _NAME} is damaged; remove it to go on at the full learning rate.")
    return entries


def add_restart(folder: Path, step: int, reason: str, learning_rate_scale: float) -> None:
    """Note one more; `learning_rate_scale` is relative to the task's learning rates."""
    entry = {"step": step, "reason": reason, "learning_rate_scale": learning_rate_scale}
    write_atomically(folder / _NAME, json.dumps([*read_restarts(folder), entry], indent=2) + "\n")


def learning_rate_scale(folder: Path) -> float:
    """What the learning rates are multiplied with, 1 without restarts."""
    restarts = read_restarts(folder)
    return restarts[-1]["learning_rate_scale"] if restarts else 1.0
