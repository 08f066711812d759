"""What every run has around its training."""

from __future__ import annotations

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from nic_lightning.callbacks.checkpoint import Checkpoints
from nic_lightning.callbacks.guard import Guard
from nic_lightning.callbacks.numerics import Numerics
from nic_lightning.callbacks.progress import Progress
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.checkpoints import FOLDER
from nic_lightning.runs.resume.restarts import learning_rate_scale
from nic_lightning.runs.settings.limits import seconds_of


def standard_callbacks(config: DictConfig, record: RunRecord) -> list[pl.Callback]:
    """Callbacks of a run whose folder is `record.folder`; the order matters, each says why."""
    cadence, limit = config.checkpoint, seconds_of(config.trainer.get("max_time"))
    return [
        RandomState(),  # first: it restores what the others may draw on
        Guard(learning_rate_scale(record.folder)),  # before what writes checkpoints
        Progress(),
        Numerics(record),
        *(instantiate(wanted, _convert_="all") for wanted in (config.callbacks or {}).values()),
        Checkpoints(record.folder / FOLDER, cadence.every_n_steps, cadence.every_n_minutes, record, limit),
    ]
