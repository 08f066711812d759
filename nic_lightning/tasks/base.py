"""What every task does around its training step."""

from __future__ import annotations

import copy
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.tasks.moving_average import MovingAverage, OptimizersAverage

QUANTILES = "quantiles"


class Task(pl.LightningModule):
    """When to log, and under which names.

    `latest` holds what the last step measured, by the names of the logs: progress is reported from it, and training is
    stopped where it is not finite.
    """

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[str, Tensor] = {}

    def logs_after(self, steps: int) -> bool:
        """Whether that many steps after the last one that was counted, it is time to log."""
        every = getattr(self.trainer, "log_every_n_steps", 1)
        return every > 0 and (self.global_step + steps) % every == 0

    @property
    def validation_name(self) -> str:
        """The validation set's, in metrics."""
        return getattr(getattr(self.trainer, "datamodule", None), "validation_name", "validation")


class CodecTask(Task):
    """Validation with fresh tables, and checkpoints that can be decoded from.

    With an `average`, it is what is validated and what decoders have; training goes on from its own weights.

    Args:
        codec: what checkpoints are decoded with.
        codec_config: its plain config, kept in checkpoints.
        average: decay of a moving average of the weights; None: none.
    """

    def __init__(
        self, codec: LearnedCodec, codec_config: dict[str, Any] | None = None, average: float | None = None
    ) -> None:
        super().__init__()
        self.codec, self.codec_config = codec, codec_config
        self.average = None if average is None else MovingAverage(codec, average)

    def take_average_of(self, optimizer: torch.optim.Optimizer) -> None:
        """Use the average of an optimiser that keeps one; UserError where the task keeps one, too."""
        if not hasattr(optimizer, "averages"):
            return
        if self.average is not None and not isinstance(self.average, OptimizersAverage):
            raise UserError("The optimiser keeps an average of the weights itself: leave task.average out.")
        self.average = OptimizersAverage(self.codec, optimizer)

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the average follow."""
        if self.average is not None:
            self.average.follow(self.global_step)

    def on_validation_start(self) -> None:
        """Bring the quantiles to where training moved the densities; rounding uses their medians."""
        if self.average is not None:
            self.average.put_in()
        self._quantiles = {n: p.detach().clone() for n, p in self.codec.named_parameters() if n.endswith(QUANTILES)}
        self.codec.update_tables()

    def on_validation_end(self) -> None:
        """Put the quantiles back: training must not depend on when it is validated, or a resumed run would differ."""
        with torch.no_grad():
            for name, value in self._quantiles.items():
                self.codec.get_parameter(name).copy_(value)
        if self.average is not None:
            self.average.take_out()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a decoder needs beside the weights: the codec's config and tables that fit these weights.

        The tables are made on a copy: moving the quantiles of the model in training would tie its course to the moments
        at which checkpoints happen to be written.
        """
        codec = self.codec if self.average is None else self.average.averaged()
        checkpoint["codec"] = {"config": self.codec_config, "tables": fresh_tables(codec)}
        if self.average is not None:
            checkpoint["average"] = self.average.state()
            checkpoint["codec"]["weights"] = {k: v.detach().cpu() for k, v in self.average.values.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the average; one that the checkpoint has not begins with its weights."""
        if self.average is not None and "average" in checkpoint:
            self.average.load(checkpoint["average"])


def fresh_tables(codec: LearnedCodec) -> dict[str, Tensor]:
    """State of the entropy models after an update of their tables, by state-dict name, on the CPU."""
    tables = {}
    to_update = set(codec.models_to_update())
    for name, module in codec.named_modules():
        if module in to_update:
            module = copy.deepcopy(module).cpu()
            module.update()  # pyright: ignore[reportCallIssue]
            tables |= {f"{name}.{key}": value.detach().clone() for key, value in module.state_dict().items()}
    return tables
