"""Lightning's logger that writes into the run record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from nic_lightning.runs.record import RunRecord


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
