"""Lambda-scheduling: find every width's lambda while a slimmable codec trains (thesis section 3.4.3, algorithm 1)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed

from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import bits
from nic_lightning.metrics.fidelity import psnr

log = logging.getLogger(__name__)


class LambdaSchedule:
    """Algorithm 1 without the training: given what every width reaches, it returns the lambdas to go on with.

    From the widest width down, one pair of neighbours after the other: the wider one's lambda is fixed, and all
    narrower ones are multiplied by kappa, again and again. That moves the narrower point along its curve to lower rates
    and the slope xi = (PSNR_wide - PSNR_narrow) / (R_wide - R_narrow) falls; where it rises, or after `updates` times,
    the next pair's turn has come. The last multiplication is not taken back.

    The thesis minimises D + lambda R in this section and has kappa > 1; here, as in its code, lambda weighs D and
    kappa < 1. Where the narrow width needs as many bits as the wide one or more, there is no slope, and the algorithm
    goes on (line 13; the released code divides by zero).
    """

    def __init__(self, lambdas: Sequence[float], kappa: float = 0.8, updates: int = 7):
        if not 0 < kappa < 1 or updates < 1:
            raise UserError(f"kappa is {kappa:g} and updates {updates}; kappa is between 0 and 1, updates at least 1.")
        self.lambdas, self.kappa, self.updates = list(lambdas), kappa, updates
        self.fixed = len(self.lambdas) - 1
        """Level of the wider width of the current pair; levels run from the narrowest, 0."""
        self.made = 0
        """Multiplications made for the current pair."""
        self.slope = math.inf
        """The pair's slope before the last multiplication; infinite while there is none."""

    @property
    def finished(self) -> bool:
        """Whether every lambda is fixed."""
        return self.fixed == 0

    def observe(self, rates: Sequence[float], psnrs: Sequence[float]) -> float:
        """Take validation rates and PSNRs at the present lambdas, set the next ones; returns the pair's slope.

        The first call is made after naive training, each further one T steps after the one before. A slope that does
        not exist is infinite.
        """
        if self.finished:
            raise UserError("The schedule is finished: every lambda is fixed.")
        current = self._slope(rates, psnrs)
        rose = self.made > 0 and math.isfinite(current) and current > self.slope
        if math.isfinite(current):
            self.slope = current
        if rose or self.made == self.updates:
            self.fixed, self.made = self.fixed - 1, 0
            self.slope = math.inf if self.finished else self._slope(rates, psnrs)
        if not self.finished:
            self.lambdas[: self.fixed] = [self.kappa * value for value in self.lambdas[: self.fixed]]
            self.made += 1
        return current

    def _slope(self, rates: Sequence[float], psnrs: Sequence[float]) -> float:
        rate = rates[self.fixed] - rates[self.fixed - 1]
        return (psnrs[self.fixed] - psnrs[self.fixed - 1]) / rate if rate > 0 else math.inf

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is, as plain values."""
        return {"lambdas": list(self.lambdas), "fixed": self.fixed, "made": self.made, "slope": self.slope}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved place."""
        self.lambdas = [float(value) for value in state["lambdas"]]
        self.fixed, self.made, self.slope = int(state["fixed"]), int(state["made"]), float(state["slope"])


class LambdaScheduling(pl.Callback):
    """Train a codec naively to `start`, then let `LambdaSchedule` move its lambdas every `every` steps.

    Rates (of the entropy model) and PSNRs are means over the validation images, shared out to the ranks. Every
    observation is a row of its own among the metrics: "schedule/SET/bpp_estimated@WIDTH", "schedule/SET/psnr@WIDTH",
    "schedule/SET/slope" and "schedule/lambda@WIDTH", the lambda from there on. All of its state is in the checkpoint.

    Args:
        start: steps of naive training (thesis: 1.2 million).
        every: T, steps from one update to the next (thesis: 2000; 10,000 with hyperprior).
        kappa: factor of each update (thesis: 0.8).
        updates: M, updates of a pair of widths at most (thesis: 7).
        halve_after: halve all learning rates when the last lambda is fixed, as the thesis does for fine-tuning.
    """

    def __init__(
        self, start: int, every: int = 2000, kappa: float = 0.8, updates: int = 7, halve_after: bool = True
    ) -> None:
        if start < 1 or every < 1:
            raise UserError(f"Lambda-scheduling starts at step {start}, every {every} steps; give positive numbers.")
        self.next_step, self.every, self.halve_after = start, every, halve_after
        self.kappa, self.updates = kappa, updates
        self.schedule: LambdaSchedule | None = None
        self._restored: dict[str, Any] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse what cannot be scheduled, before anything is trained."""
        codec: Any = getattr(pl_module, "codec", None)
        if not hasattr(codec, "set_lambdas") or len(codec.operating_points) < 2:
            raise UserError(
                "Lambda-scheduling needs a codec with a lambda for each of several widths, such as slimmable."
            )
        if 0 < trainer.max_steps <= self.next_step and self._restored is None:
            raise UserError(
                f"Lambda-scheduling begins at step {self.next_step}, but training ends at {trainer.max_steps}: lower "
                "callbacks.lambda_scheduling.start or raise trainer.max_steps."
            )
        if not trainer.datamodule or not len(trainer.datamodule.val_dataloader()):  # pyright: ignore[reportAttributeAccessIssue]
            raise UserError("Lambda-scheduling measures on validation images, and there are none: set data.validation.")
        self.schedule = LambdaSchedule([p.lmbda for p in codec.operating_points], self.kappa, self.updates)
        if self._restored is not None:
            self.schedule.load_state_dict(self._restored)
            self._restored = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Observe and update, if it is time."""
        schedule, codec = self.schedule, pl_module.codec
        assert schedule is not None
        if schedule.finished or trainer.global_step < self.next_step:
            return
        self.next_step += self.every
        rates, psnrs = measure(trainer, pl_module)
        slope = schedule.observe(rates, psnrs)
        codec.set_lambdas(schedule.lambdas)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        self._log(trainer, codec.operating_points, rates, psnrs, slope)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        if schedule.finished:
            found = ", ".join(f"{p.label} {p.lmbda:.6g}" for p in codec.operating_points)  # pyright: ignore[reportAttributeAccessIssue, reportGeneralTypeIssues]
            log.info("Lambda-scheduling ended at step %d: %s.", trainer.global_step, found)
            for group in trainer.optimizers[0].param_groups if self.halve_after else []:
                group["lr"] /= 2

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn where training was too short for the schedule."""
        if self.schedule and not self.schedule.finished:
            log.warning(
                "Lambda-scheduling is not over at step %d, where training ends: %d widths have no final lambda yet. "
                "Raise trainer.max_steps, or lower callbacks.lambda_scheduling.start or .every.",
                *(trainer.global_step, self.schedule.fixed),
            )

    @staticmethod
    def _log(
        trainer: pl.Trainer, points: Sequence[Any], rates: Sequence[float], psnrs: Sequence[float], slope: float
    ) -> None:
        name = trainer.datamodule.validation_name  # pyright: ignore[reportAttributeAccessIssue]
        values = {f"schedule/{name}/slope": slope} if math.isfinite(slope) else {}
        for point, rate, quality in zip(points, rates, psnrs, strict=True):
            values[f"schedule/{name}/bpp_estimated@{point.label}"] = rate
            values[f"schedule/{name}/psnr@{point.label}"] = quality
            values[f"schedule/lambda@{point.label}"] = point.lmbda
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Place in the schedule and the step of the next update."""
        schedule = self.schedule.state_dict() if self.schedule else None
        return {"next_step": self.next_step, "schedule": schedule}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved schedule."""
        self.next_step, self._restored = int(state_dict["next_step"]), state_dict["schedule"]


@torch.no_grad()
def measure(trainer: pl.Trainer, module: Any) -> tuple[list[float], list[float]]:
    """Mean estimated bits per pixel and mean PSNR in dB of the validation images, one of each for every point.

    Images that some point reproduces exactly, such as black ones, have no finite PSNR there: no mean is over these.

    Training goes on as if nothing had been measured: quantiles and mode are put back, no random number is drawn.
    """
    codec, training = module.codec, module.training
    module.on_validation_start()
    module.eval()
    sums = torch.zeros(len(codec.operating_points), 3, dtype=torch.float64, device=module.device)
    try:
        for _, x in trainer.datamodule.val_dataloader():  # pyright: ignore[reportAttributeAccessIssue]
            x = x.to(module.device)
            with trainer.precision_plugin.forward_context():
                outputs = list(codec.outputs(x))
            qualities = [psnr(x, output.x_hat.float()).sum().double() for output in outputs]
            if not torch.stack(qualities).isfinite().all():
                continue
            for row, output, quality in zip(sums, outputs, qualities, strict=True):
                rate = bits(output.likelihoods) / (x.shape[-2] * x.shape[-1])
                row += torch.stack([rate.double(), quality, rate.new_tensor(1.0)])
    finally:
        module.train(training)
        module.on_validation_end()
    if trainer.world_size > 1:
        torch.distributed.all_reduce(sums)
    means = sums[:, :2] / sums[:, 2:]
    return means[:, 0].tolist(), means[:, 1].tolist()
