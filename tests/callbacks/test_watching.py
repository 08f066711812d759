"""Callbacks that follow a metric of validation: the best state is kept, rates fall, training ends; all resume."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nic_lightning.callbacks.best import BestCheckpoint
from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.ending import ended_by
from nic_lightning.callbacks.plateau import LowerOnPlateau, StopOnPlateau
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


def fit(folder, steps: int, best: pl.Callback, **options) -> pl.Trainer:
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


def test_learning_rates_are_lowered_after_validations_that_were_not_better(tmp_path):
    """Values of 5, 3, 4, NaN, 2.5, 9: two in a row are not better after step 8, and again none are two."""
    lower = LowerOnPlateau(patience=2, factor=0.1)
    rates = [group["lr"] for group in fit(tmp_path, 7, lower).optimizers[0].param_groups]
    assert rates == [1e-3]
    trainer = fit(tmp_path / "more", 12, LowerOnPlateau(patience=2, factor=0.1))
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-4)
    trainer = fit(tmp_path / "least", 12, LowerOnPlateau(patience=1, factor=0.1, least=5e-4))
    assert trainer.optimizers[0].param_groups[0]["lr"] == 5e-4


@pytest.mark.parametrize(
    ("options", "last"), [({"patience": 2}, 8), ({"patience": 3}, 12), ({"patience": 1, "threshold": 3.0}, 4)]
)
def test_training_ends_after_validations_that_were_not_better(tmp_path, options, last):
    trainer = fit(tmp_path, 12, StopOnPlateau(**options))
    assert trainer.global_step == last
    assert ended_by(trainer) == ("StopOnPlateau" if last < 12 else None)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_continued_run_remembers_how_long_it_has_waited(tmp_path):
    fit(tmp_path, 7, StopOnPlateau(patience=2))  # the checkpoint is of step 6, whose validation was not better
    trainer = fit(tmp_path, 12, StopOnPlateau(patience=2), ckpt_path=str(tmp_path / "last.ckpt"))
    assert trainer.global_step == 8


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LowerOnPlateau(patience=0), "patience of 0"),
        (lambda: StopOnPlateau(patience=0), "patience of 0"),
        (lambda: LowerOnPlateau(factor=1.0), "factor of 1"),
        (lambda: LowerOnPlateau(least=-1.0), "least rate of -1"),
        (lambda: StopOnPlateau(threshold=-1.0), "threshold of -1"),
        (lambda: StopOnPlateau(mode="least"), "early_stopping has mode"),
    ],
)
def test_waits_that_make_no_sense(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()
