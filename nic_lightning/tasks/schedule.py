"""Learning rate over the steps of training."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nic_lightning.errors import UserError

LOWEST = 0.01
"""Of the full learning rate, at the first step of a warm-up."""


class ByFactor(LRScheduler):
    """Learning rates that are a multiple of the full ones, which depends on the step alone.

    Each step multiplies the rates that are there, so that what else lowers them (the guard, lambda-scheduling, a
    plateau) stays.
    """

    def factor(self, step: int) -> float:
        """Multiple of the full learning rate at a step, above 0."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        """Rates of all groups at `last_epoch`, which counts steps."""
        step = self.last_epoch
        ratio = self.factor(step) / (self.factor(step - 1) if step else 1.0)
        return [group["lr"] * ratio for group in self.optimizer.param_groups]


class WarmupAndDecay(ByFactor):
    """Rise linearly, stay, fall linearly towards zero over the last steps; halved where asked for.

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


class Cosine(ByFactor):
    """Rise linearly, then fall along half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts).

    Args:
        optimizer: whose groups' rates are set.
        end: the step at which training ends.
        warmup: steps of the rise.
        floor: part of the full rate at the end.
    """

    def __init__(self, optimizer: Optimizer, end: int | None, warmup: int = 0, floor: float = 0.0):
        self.end, self.warmup, self.floor = _known(end, "cosine"), warmup, floor
        if not 0 <= warmup < self.end or not 0 <= floor <= 1:
            raise UserError(
                f"task.schedule has a warmup of {warmup} steps and a floor of {floor:g}: give fewer than the "
                f"{self.end} of trainer.max_steps, and 0 to 1."
            )
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """See `ByFactor`."""
        if step < self.warmup:
            return LOWEST + (1 - LOWEST) * step / self.warmup
        return max(_between(1.0, self.floor, (step - self.warmup) / (self.end - self.warmup)), _LEAST)


class OneCycle(ByFactor):
    """Up and down once, both along half a cosine (Smith and Topin 2019); momentum stays as it is.

    Args:
        optimizer: whose groups' rates are the highest.
        end: the step at which training ends.
        rise: part of the steps in which the rates rise.
        start: part of the highest rate at the first step.
        end_at: the same at the last one.
    """

    def __init__(
        self, optimizer: Optimizer, end: int | None, rise: float = 0.3, start: float = 0.04, end_at: float = 1e-4
    ):
        self.end, self.rise, self.start, self.end_at = _known(end, "one_cycle"), rise, start, end_at
        if not 0 < rise < 1 or not 0 < start <= 1 or not 0 <= end_at <= 1:
            raise UserError(
                f"task.schedule has a rise of {rise:g}, start of {start:g} and end_at of {end_at:g}; all are parts: "
                "above 0 and below 1."
            )
        super().__init__(optimizer)

    def factor(self, step: int) -> float:
        """See `ByFactor`."""
        top = self.rise * self.end
        if step < top:
            return _between(self.start, 1.0, step / top)
        return max(_between(1.0, self.end_at, (step - top) / (self.end - top)), _LEAST)


_LEAST = 1e-8
"""No rate falls to 0, from which nothing could be multiplied."""


def _between(first: float, last: float, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(max(part, 0.0), 1.0))) / 2


def _known(end: int | None, name: str) -> int:
    if end is None:
        raise UserError(f"schedule={name} follows the length of training: set trainer.max_steps.")
    return end
