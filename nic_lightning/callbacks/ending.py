"""How training ended: at its own end, or before it. Lightning's `fit` returns alike in all cases.

Own ends are `trainer.max_steps` and `trainer.max_epochs`, and the wish of a callback of the config, or of the task,
that sets `trainer.should_stop`, such as EarlyStopping. A time limit is none: the run goes on when it is started again.
Nor is a StopIteration from a hook, after which `fit` returns without a word.
"""

from __future__ import annotations

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from nic_lightning.callbacks.plateau import StopOnPlateau
from nic_lightning.config import ConfigError
from nic_lightning.errors import Interrupted

_OURS = "nic_lightning.callbacks."


class EndedEarly(Interrupted):
    """Training stopped before its own end, its state saved; the exit code is EX_TEMPFAIL of sysexits.h."""

    exit_code = 75


def time_is_up(step: int, limit: str) -> EndedEarly:
    """The sentence for a time limit."""
    return EndedEarly(f"{limit} is used up after step {step}; the same command continues the run for as long again.")


def reached_end(trainer: pl.Trainer) -> bool:
    """Whether training came to `max_steps` or `max_epochs`."""
    reached = ((trainer.global_step, trainer.max_steps), (trainer.current_epoch, trainer.max_epochs))
    return any(limit is not None and 0 <= limit <= count for count, limit in reached)


def ended_by(trainer: pl.Trainer) -> str | None:
    """Who ended training before `max_steps` and `max_epochs`, such as "EarlyStopping"; None for these two themselves.

    Raises:
        EndedEarly: nothing that ends a run for good; it is to go on.
        ConfigError: there was no batch to train on.
    """
    if reached_end(trainer):
        return None
    if trainer.num_training_batches == 0 or trainer.limit_train_batches == 0:
        raise ConfigError("trainer.limit_train_batches leaves no batch to train on.")
    callbacks: list[pl.Callback] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    for timer in (callback for callback in callbacks if isinstance(callback, Timer)):
        if (timer.time_remaining() or 1) <= 0:
            raise EndedEarly(
                f"The callback Timer ended training at step {trainer.global_step}; it counts all starts together, so "
                "give it a longer duration, or trainer.max_time, which counts from each start."
            )
    if not trainer.should_stop:
        raise EndedEarly(
            f"Training ended at step {trainer.global_step}, before its end, and no callback says why (StopIteration in "
            "a hook does that); the same command continues the run."
        )
    others = [callback for callback in callbacks if not type(callback).__module__.startswith(_OURS)]
    stopping = [c for c in others if isinstance(c, EarlyStopping) and c.wait_count >= c.patience]
    stopping += [c for c in callbacks if isinstance(c, StopOnPlateau) and c.since >= c.patience]
    stopping = stopping or others
    return ", ".join(type(callback).__name__ for callback in stopping) or type(trainer.lightning_module).__name__
