"""Lightning's loggers: one that writes into the run record, and W&B's, which may fail without ending the training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from nic_lightning.runs.record.record import RunRecord

_log = logging.getLogger(__name__)


class RecordLogger(Logger):
    """Appends what is logged to the record's metrics.jsonl, from rank 0 only.

    The record itself, its start and its end, belong to whoever made it.
    """

    def __init__(self, record: RunRecord) -> None:
        super().__init__()
        self.record = record

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.record.folder.name

    @property
    def version(self) -> str:
        """Empty: a run folder holds one run."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.record.folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one line; Lightning passes the epoch among the metrics."""
        values = {key: float(value) for key, value in metrics.items()}
        epoch = values.pop("epoch", None)
        if values:
            self.record.log(step or 0, values, None if epoch is None else int(epoch))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml has them."""


class ForgivingWandbLogger(WandbLogger):
    """W&B's logger; when its helper process or its folder is gone, one warning, and the training goes on."""

    _lost = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand the metrics to W&B, if it is still there."""
        self._try(lambda: WandbLogger.log_metrics(self, metrics, step))  # pyright: ignore[reportArgumentType]

    def finalize(self, status: str) -> None:
        """End W&B's part, if it is still there."""
        self._try(lambda: WandbLogger.finalize(self, status))

    def _try(self, call: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            call()
        # W&B raises its own errors, the operating system's, and those of its helper process.
        except Exception as error:
            self._lost = True
            reason = " ".join(str(error).split()) or type(error).__name__
            _log.warning("W&B is lost (%s); the training goes on, and metrics.jsonl has everything.", reason)
