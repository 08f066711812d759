"""Where training stands, in a checkpoint: always as between two steps, whatever Lightning counts.

Two things need mending. Lightning's own checkpoints are written before it counts a step for the loggers, so a restart
counts the last one once more. And where training ends, Lightning counts the epoch as done, wherever `max_steps` cut
it, and would begin with an epoch without batches: a finished run that is made longer would skip samples.
"""

from __future__ import annotations

from typing import Any

Counts = dict[str, dict[str, int]]


def stand_between_steps(checkpoint: dict[str, Any], batches: float, accumulate: int, fetched: bool) -> None:
    """Change the loops' state in `checkpoint` to that at the start of the next batch.

    Args:
        checkpoint: as Lightning made it.
        batches: in an epoch of this rank.
        accumulate: batches in a step.
        fetched: whether it was made there, with the next batch fetched; else after the end of training, or at another
            moment, when it is left as it is.
    """
    loops = checkpoint["loops"]["fit_loop"]
    epochs: Counts = loops["epoch_progress"]
    progress: Any = loops["epoch_loop.batch_progress"]
    ended = 0 < epochs["current"]["started"] == epochs["current"]["processed"]
    if not fetched:
        if not ended:
            return
        if progress["current"]["processed"] < batches:
            _add(epochs, -1, "processed", "completed")
        else:
            _begin_epoch(loops)
        _add(progress, 1, "ready")
        progress["is_last_batch"] = progress["current"]["ready"] == batches
        checkpoint["epoch"] = epochs["current"]["completed"]
    if progress["current"]["ready"] % accumulate == 0 or progress["is_last_batch"]:  # then a restart counts a step
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def _begin_epoch(loops: dict[str, Any]) -> None:
    _add(loops["epoch_progress"], 1, "ready", "started")
    steps = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    for progress in (loops["epoch_loop.batch_progress"], loops["epoch_loop.scheduler_progress"], *steps.values()):
        progress["current"] = dict.fromkeys(progress["current"], 0)
    validation = loops["epoch_loop.val_loop.batch_progress"]
    validation["total"] = dict.fromkeys(validation["total"], 0)


def _add(progress: Counts, number: int, *names: str) -> None:
    for counts in (progress["total"], progress["current"]):
        for name in names:
            counts[name] += number
