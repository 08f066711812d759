"""A training that ended and is made longer goes on as if it had never ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.runs.loggers.loggers import RecordLogger
from nic_lightning.runs.record.record import RunRecord, read_metrics
from tests.trainers import quiet_trainer

EPOCH = 4


class Noisy(pl.LightningModule):
    """Depends on samples, random numbers and the schedule, and logs what it has become."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        loss = (self.layer(x.mean(dim=(1, 2, 3)).unsqueeze(1)) + torch.rand(())).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val/weight", self.layer.weight.detach().sum(), batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 1e-2)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def train(run: Path, images: Path, steps: int, save_every: int | None = None, **options: Any) -> None:
    """Train in the folder `run` up to `steps`, from its checkpoint if it has one."""
    torch.manual_seed(0)
    last = run / "checkpoints" / "last.ckpt"
    record = RunRecord(run)
    run.mkdir(exist_ok=True)
    trainer = quiet_trainer(
        max_steps=steps,
        logger=RecordLogger(record),
        plugins=[AtomicCheckpointIO()],
        callbacks=[RandomState(), Checkpoints(last.parent, save_every, record=record)],
        log_every_n_steps=1,
        **options,
    )
    accumulate = options.get("accumulate_grad_batches", 1)
    samples = 2 * EPOCH * accumulate
    data = ImageDataModule([str(images)], str(images), crop=16, batch_size=2, workers=0, samples_per_epoch=samples)
    trainer.fit(Noisy(), data, ckpt_path=last if last.exists() else None, weights_only=True)
    trainer.save_checkpoint(last)


def state(run: Path, name: str = "last.ckpt") -> dict[str, Any]:
    """What the future depends on; without the place in the data, whose end of an epoch is also the start of one."""
    checkpoint = torch.load(run / "checkpoints" / name, weights_only=True)
    del checkpoint["metrics_bytes"], checkpoint["ImageDataModule"]  # times have more digits or fewer
    checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"].pop("ready")  # batches fetched, some in vain
    return checkpoint


def rows(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "time"} for row in read_metrics(run)]


def assert_equal(one: Any, other: Any, path: str = "") -> None:
    """To the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{path}[{i}]")
    else:
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other, path


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (6, {}),
        (2 * EPOCH - 1, {}),  # the next batch is the epoch's last
        (2 * EPOCH, {}),
        (6, {"val_check_interval": 2}),  # right after a validation
        (6, {"accumulate_grad_batches": 2}),
        (2 * EPOCH, {"accumulate_grad_batches": 2}),
    ],
)
def test_made_longer_is_as_if_never_ended(tmp_path, images, end, options):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, images, 3 * EPOCH, save_every=end, **options)
    train(parts, images, end, **options)
    if "accumulate_grad_batches" not in options:  # there the other one was written within a step
        assert_equal(state(parts), state(whole, "previous.ckpt"))
    train(parts, images, end, **options)  # killed after its last step and started again: nothing to do
    train(parts, images, end + 1, **options)
    train(parts, images, 3 * EPOCH, **options)
    assert_equal(state(parts), state(whole))
    assert rows(parts) == rows(whole)
    assert [row["step"] for row in rows(whole) if "loss" in row] == list(range(3 * EPOCH))


def test_more_epochs(tmp_path, images):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, images, -1, max_epochs=3)
    train(parts, images, -1, max_epochs=1)
    train(parts, images, -1, max_epochs=3)
    assert_equal(state(parts), state(whole))
    assert rows(parts) == rows(whole)
