"""Every way in which `fit` returns before the last step, and which of them ends a run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, Timer

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.ending import EndedEarly, ended_by
from nic_lightning.commands.resume import TIME_IS_UP
from nic_lightning.config import ConfigError
from nic_lightning.data.datamodule import ResumableLoader
from tests.trainers import quiet_trainer


class Flat(pl.LightningModule):
    """A loss that never falls; `stop_at` is a step in which the task asks for the end."""

    def __init__(self, stop_at: int = -1) -> None:
        super().__init__()
        self.weight, self.stop_at = torch.nn.Parameter(torch.ones(1)), stop_at

    def training_step(self, x, index):
        if self.global_step == self.stop_at:
            self.trainer.should_stop = True
        return 0 * self.weight.sum()

    def on_train_epoch_end(self):
        self.log("loss", 1.0)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


class Exhausted(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.global_step >= 4:
            raise StopIteration


def trained(task: Flat | None = None, path: Path | None = None, **options) -> pl.Trainer:
    """`options` of the trainer, for 4 batches in an epoch and 12 steps if nothing else is said."""
    trainer = quiet_trainer(**{"max_steps": 12, "plugins": [AtomicCheckpointIO()], **options})
    batches = ResumableLoader(list(torch.rand(8, 1)), batch_size=2)  # pyright: ignore[reportArgumentType]
    trainer.fit(task or Flat(), batches, ckpt_path=path and str(path))
    return trainer


@pytest.mark.parametrize("length", [{}, {"max_steps": -1, "max_epochs": 2}, {"max_steps": 100, "max_epochs": 1}])
def test_last_steps_and_epochs_are_the_runs_own_end(length: dict) -> None:
    assert ended_by(trained(**length)) is None


def test_early_stopping_and_a_task_end_a_run_and_are_named() -> None:
    def stopping() -> EarlyStopping:
        return EarlyStopping("loss", patience=1, check_on_train_epoch_end=True)

    trainer = trained(callbacks=[stopping(), Exhausted()])
    assert trainer.global_step == 4  # the other callback's StopIteration
    with pytest.raises(EndedEarly, match="step 4, before its end"):
        ended_by(trainer)
    trainer = trained(callbacks=[stopping(), pl.Callback()], max_steps=100)
    assert (trainer.global_step, ended_by(trainer)) == (8, "EarlyStopping")
    assert ended_by(trained(Flat(stop_at=5))) == "Flat"


def test_a_timer_ends_no_run() -> None:
    with pytest.raises(EndedEarly, match=r"callback Timer ended training at step 1; .*trainer\.max_time"):
        ended_by(trained(callbacks=[Timer(timedelta(microseconds=1), interval="step")]))


def test_no_batch_is_no_training() -> None:
    with pytest.raises(ConfigError, match=r"limit_train_batches leaves no batch"):
        ended_by(trained(limit_train_batches=0))


def test_a_time_limit_saves_and_counts_anew_from_each_start(tmp_path: Path) -> None:
    steps = []
    for start in range(2):
        last = tmp_path / "last.ckpt" if start else None
        with pytest.raises(EndedEarly, match=r"trainer\.max_time is used up after step \d+; the same command") as end:
            trained(path=last, callbacks=[Checkpoints(tmp_path, None, max_seconds=1e-9)])
        steps.append(torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"])
    assert steps == [1, 2]
    assert end.value.exit_code == TIME_IS_UP
    with pytest.raises(EndedEarly, match="after step 7;"):
        trained(path=tmp_path / "last.ckpt", callbacks=[Checkpoints(tmp_path, None, max_seconds=1e-9)], min_steps=7)
    assert (
        ended_by(trained(path=tmp_path / "last.ckpt", callbacks=[Checkpoints(tmp_path, None, max_seconds=60)])) is None
    )


def test_a_run_that_was_ended_does_not_go_on_until_it_is_to_be_longer(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, None)
    trainer = trained(Flat(stop_at=5), callbacks=[checkpoints])
    checkpoints.ended_by = ended_by(trainer)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = Checkpoints(tmp_path, None)
    assert trained(path=tmp_path / "last.ckpt", callbacks=[again]).global_step == trainer.global_step == 6
    assert again.ended_by == "Flat"
    assert trained(path=tmp_path / "last.ckpt", callbacks=[Checkpoints(tmp_path, None)], max_steps=20).global_step == 20
