"""best.ckpt is the state that was validated best, whole, and a run that is continued remembers its value."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nic_lightning.callbacks.best import BestCheckpoint
from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.errors import UserError
from tests.trainers import quiet_trainer

VALUES = {2: 5.0, 4: 3.0, 6: 4.0, 8: float("nan"), 10: 2.5, 12: 9.0}
"""What validation measures after so many steps."""


class Measured(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, x, index):
        return self.layer(x).square().mean()

    def validation_step(self, x, index):
        self.log("val/photos/valid/loss", VALUES[self.global_step])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(folder, steps: int, best: BestCheckpoint, **options) -> pl.Trainer:
    callbacks = [best, Checkpoints(folder, 3)]
    trainer = quiet_trainer(
        max_steps=steps, callbacks=callbacks, plugins=[AtomicCheckpointIO()], val_check_interval=2, max_epochs=-1
    )
    data = DataLoader(torch.rand(64, 1), batch_size=2)
    trainer.fit(Measured(), data, DataLoader(torch.rand(2, 1)), weights_only=True, **options)
    return trainer


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


@pytest.mark.parametrize(("mode", "steps", "expected"), [("min", 8, 4), ("min", 12, 10), ("min", 4, 4), ("max", 8, 2)])
def test_it_is_the_state_that_was_validated_best(tmp_path, mode, steps, expected):
    fit(tmp_path, steps, BestCheckpoint("loss", mode))
    assert step_of(tmp_path / "best.ckpt") == expected
    assert {p.name for p in tmp_path.iterdir()} <= {"best.ckpt", "last.ckpt", "previous.ckpt"}
    if steps == 12:
        assert (step_of(tmp_path / "last.ckpt"), step_of(tmp_path / "previous.ckpt")) == (9, 6)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_continued_run_remembers_the_value(tmp_path):
    fit(tmp_path, 7, BestCheckpoint())  # ends a step after a checkpoint, at which the best one was of step 4
    best = BestCheckpoint("val/photos/valid/loss")
    fit(tmp_path, 8, best, ckpt_path=str(tmp_path / "last.ckpt"))
    assert best.best == 3.0
    assert step_of(tmp_path / "best.ckpt") == 4


def test_a_metric_that_nobody_measures(tmp_path):
    with pytest.raises(UserError, match=r"best monitors 'psnr'; .*val/photos/valid/loss"):
        fit(tmp_path, 4, BestCheckpoint("psnr"))
    with pytest.raises(UserError, match="min or max"):
        BestCheckpoint("loss", "least")
