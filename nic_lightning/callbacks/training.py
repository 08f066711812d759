"""Lightning's trainer around one run: made from its config, run, and what its ends mean."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.ending import EndedEarly, ended_by
from nic_lightning.callbacks.guard import DivergenceError, out_of_memory, start_again_lower
from nic_lightning.callbacks.profiler import profiler_of
from nic_lightning.callbacks.standard import standard_callbacks
from nic_lightning.errors import Interrupted, UserError
from nic_lightning.runs.loggers.loggers import RecordLogger
from nic_lightning.runs.machine.process import main_process
from nic_lightning.runs.record.record import GO_ON
from nic_lightning.runs.settings.deterministic import trainer_options


def trainer_of(config: DictConfig, plain: dict[str, Any], folder: Path, record: Any, loggers: list[Any]) -> pl.Trainer:
    """Lightning's trainer with our loggers, callbacks and checkpoints."""
    return make_trainer(
        **trainer_options(plain),
        profiler=profiler_of(config.trainer.get("profiler"), folder),
        default_root_dir=str(folder),
        logger=[RecordLogger(record), *loggers],  # the record first: some show what it has
        callbacks=standard_callbacks(config, record),
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=False,
        enable_checkpointing=False,  # Lightning's own; ours is among the callbacks
    )


def make_trainer(**options: Any) -> pl.Trainer:
    """Lightning's trainer; a setting that it cannot use is one sentence."""
    try:
        return pl.Trainer(**options)
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())[:400]}") from error


def fit(trainer: pl.Trainer, task: Any, data: Any, resume: str | None, config: DictConfig, folder: Path) -> None:
    """Train; after a divergence begin again at a lower learning rate, if `guard.restarts` allows it."""
    try:
        trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    except DivergenceError as error:
        if not main_process():
            raise
        launcher: Any = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)  # the other ranks, which wait for this one
        start_again_lower(error, folder, config.guard.restarts, config.guard.lower)
    except SystemExit:  # what Lightning makes of Ctrl-C
        if not trainer.interrupted:
            raise
        raise Interrupted(GO_ON) from None
    except (RuntimeError, MemoryError) as error:
        raise out_of_memory(error, folder) or error from error
    except ValueError as error:
        *_, frame = traceback.walk_tb(error.__traceback__)
        if not frame[0].f_globals["__name__"].startswith("pytorch_lightning."):  # else about a trainer's setting
            raise
        raise UserError(f"trainer: {' '.join(str(error).split())[:400]}") from error


def keep_end(trainer: pl.Trainer, record: Any, folder: Path) -> None:
    """Save the last state, and who ended training before its last step; raises `EndedEarly` where it is to go on."""
    checkpoints: Any = next(c for c in trainer.callbacks if isinstance(c, Checkpoints))  # pyright: ignore
    try:
        record.ended_by = checkpoints.ended_by = checkpoints.ended_by or ended_by(trainer)
    except EndedEarly:
        trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
        raise
    trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
