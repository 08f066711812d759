"""What a folder belongs to: a command writes only into a folder that is new or its own. No torch needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import yaml

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import MARKS

Owner = Literal["training", "evaluation", "analysis", "export", "sweep"]
CHECKPOINTS = "checkpoints"
EXPORT = "codec.json"
"""The description of an export folder; `codecs.exporting.DESCRIPTION`, which needs torch."""
JOBS = "jobs.jsonl"
"""In a sweep's folder: one line for each job and start, appended when it ends."""
RECORD = frozenset(
    {*MARKS, "config.yaml", "overrides.yaml", "environment.json", "git.diff", "resume.yaml", "tags.json", "wandb_id"}
    | {
        "restarts.json",
        "channel_rates.json",
        "distances.json",
        "translation.json",
        "features.npz",
        "latent_motion.parquet",
    }
    | {EXPORT, JOBS}
)
"""Files that say what a run, an export or a sweep is."""
_NAMES: dict[Owner, str] = {
    "training": "a training (nic-train)",
    "evaluation": "an evaluation (nic-evaluate)",
    "analysis": "an analysis (nic-analyze)",
    "export": "an exported codec (nic export)",
    "sweep": "the runs of a sweep",
}


def owner(folder: Path) -> Owner | None:
    """What the files in `folder` belong to; None where it is new, or holds other things."""
    if os.path.lexists(folder / EXPORT):
        return "export"
    if (folder / CHECKPOINTS).is_dir() or os.path.lexists(folder / "metrics.jsonl"):
        return "training"
    if os.path.lexists(folder / "config.yaml"):
        stored = stored_config(folder) or {}
        if "study" in stored and "trainer" not in stored:
            return "analysis"
        return "evaluation" if "run" in stored and "trainer" not in stored else "training"
    if os.path.lexists(folder / "results.parquet"):
        return "evaluation"
    return "sweep" if _holds_runs(folder) else None


def refuse_foreign(folder: Path, wanted: Owner) -> None:
    """Raise RunError where `folder` belongs to something that a start of `wanted` would mix with, or lies in a run.

    Runs inside a run are never found again: lists of runs do not look there.
    """
    found = owner(folder)
    if found is not None and found != wanted:
        raise RunError(f"{folder} holds {_NAMES[found]}, which stays as it is; give name=NAME or run_dir=PATH.")
    around = next((parent for parent in folder.absolute().parents if _is_run(parent)), None)
    if around is not None:
        raise RunError(f"{folder} lies inside the run {around}, where no list looks; give another name or run_dir.")


def refuse_record(path: Path) -> None:
    """Raise RunError where a command that writes `path` would replace a file of a run's or an export's record."""
    found = owner(path.parent)
    if found is not None and path.name in RECORD and os.path.lexists(path):
        raise RunError(f"{path} belongs to the record of {_NAMES[found]}; give another name.")


def stored_config(folder: Path) -> dict[str, Any] | None:
    """config.yaml of a run folder; None where it is missing or damaged."""
    try:
        stored = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    return stored if isinstance(stored, dict) else None


def _is_run(folder: Path) -> bool:
    return os.path.lexists(folder / "status.json") and os.path.lexists(folder / "config.yaml")


def _holds_runs(folder: Path) -> bool:
    """Whether there are jobs of a multirun, or runs one level below."""
    if os.path.lexists(folder / JOBS):
        return True
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir(follow_symlinks=False) and _is_run(Path(entry)) for entry in entries)
    except OSError:
        return False
