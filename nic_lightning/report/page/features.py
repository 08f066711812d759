"""Runs that train what optical flow is matched with, and no codec. No torch needed."""

from __future__ import annotations

from collections.abc import Iterable

from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.text import printable


def trains_features(run: Run) -> bool:
    """Whether the run's task is `tasks.flow_features`: it has no results table, its curves are those of training."""
    task = (run.config or {}).get("task")
    return isinstance(task, dict) and str(task.get("_target_")).endswith(".FlowFeaturesTask")


def features_lines(runs: Iterable[Run]) -> str:
    """For the terminal: what such runs have, and how their features are used and measured; "" without such runs."""
    return "\n".join(
        printable(
            f"{run.name} trains features of optical flow: the page has its curves. nic flow FRAMES -o DIR --weights "
            f"{run.folder} uses them, nic-evaluate flow=timcflow flow.weights={run.folder} measures them."
        )
        for run in runs
        if trains_features(run)
    )
