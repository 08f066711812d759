"""Learning rate over the steps of training."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nic_lightning.errors import UserError

LOWEST = 0.01
"""Of the full learning rate, at the first step of a warm-up."""


class WarmupAndDecay(LRScheduler):
    """Rise linearly, stay, fall linearly towards zero over the last steps; halved where asked for.

    Each step multiplies the rates that are there, so that what else lowers them (the guard, lambda-scheduling) stays.
    The plateau does not depend on when training ends: a run can be made longer before its decay, and copies of it can
    be cooled down at any time.

    Args:
        optimizer: whose groups' rates are set.
        end: the step at which training ends; None: not known, then there is no decay.
        warmup: steps of the rise.
        decay: steps of the fall, the last ones before `end`.
        halve_at: steps at which the rates are halved.
    """

    def __init__(
        self, optimizer: Optimizer, end: int | None, warmup: int = 0, decay: int = 0, halve_at: Sequence[int] = ()
    ):
        if min(warmup, decay) < 0:
            raise UserError(f"task.warmup is {warmup} and task.decay {decay}; neither is negative.")
        if decay and (end is None or warmup + decay > end):
            total = "not set" if end is None else end
            raise UserError(
                f"task.warmup and task.decay are {warmup} and {decay} steps, trainer.max_steps is {total}: both "
                "have to fit into it."
            )
        self.end, self.warmup, self.decay, self.halve_at = end, warmup, decay, sorted(halve_at)
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """Multiple of the full learning rate at a step, above 0."""
        rise = min(1.0, LOWEST + (1 - LOWEST) * step / self.warmup) if self.warmup else 1.0
        left = self.end - step if self.decay and self.end is not None else 1
        fall = min(1.0, max(left, 1) / self.decay) if self.decay else 1.0
        return rise * fall * 0.5 ** bisect.bisect_right(self.halve_at, step)

    def get_lr(self) -> list[float]:
        """Rates of all groups at `last_epoch`, which counts steps."""
        step = self.last_epoch
        ratio = self.factor(step) / (self.factor(step - 1) if step else 1.0)
        return [group["lr"] * ratio for group in self.optimizer.param_groups]
