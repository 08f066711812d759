"""The data module: batches, refusals, and a restart that sees exactly the same samples."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch import Tensor, nn

from nic_lightning.data import datamodule as module
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.data.sampler import EpochSampler
from nic_lightning.errors import DataError
from tests.trainers import quiet_trainer

CONF = Path(__file__).resolve().parents[2] / "conf" / "data"


def build(folder: Path, **changes: Any) -> ImageDataModule:
    arguments: dict[str, Any] = {"crop": 16, "batch_size": 2, "workers": 0, "samples_per_epoch": 8, "seed": 1} | changes
    return ImageDataModule([str(folder)], str(folder), **arguments)


def from_config(name: str, **changes: Any) -> ImageDataModule:
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    del config["_target_"]
    arguments: dict[str, Any] = {**config, "seed": 0, **changes}
    return ImageDataModule(**arguments)


class Watcher(pl.LightningModule):
    """Notes the sum of every training batch and the name of every validation image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.sums: list[float] = []
        self.names: list[str] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.sums.append(batch.double().sum().item())
        return (self.weight * batch.mean()).sum()

    def validation_step(self, batch: tuple[list[str], Tensor], batch_idx: int) -> None:
        names, images = batch
        assert images.shape[0] == len(names) == 1
        self.names.append(names[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(pl.Callback):
    """Saves a checkpoint at the end of one training batch, as a periodic checkpoint does."""

    def __init__(self, step: int, path: Path) -> None:
        self.step = step
        self.path = path

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(data: ImageDataModule, *callbacks: pl.Callback, resume: Path | None = None) -> Watcher:
    watcher = Watcher()
    trainer = quiet_trainer(max_epochs=3, callbacks=list(callbacks))
    trainer.fit(watcher, data, ckpt_path=resume, weights_only=True)
    return watcher


def test_batches_have_the_promised_shapes(folder):
    data = build(folder, validation_limit=3)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert [tuple(batch.shape) for batch in batches] == [(2, 3, 16, 16)] * 4
    assert batches[0].dtype == torch.float32
    assert 0 <= batches[0].min() <= batches[0].max() <= 1
    validation = list(data.val_dataloader())
    assert [names for names, _ in validation] == [["a"], ["b"], ["c"]]
    assert validation[1][1].shape == (1, 3, 41, 50)
    assert data.validation_name == "six"


@pytest.mark.parametrize("step", [6, 8], ids=["in an epoch", "at its end"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_sees_the_same_samples(folder, tmp_path, step, workers):
    path = tmp_path / "place.ckpt"
    whole = fit(build(folder, workers=workers), SaveAt(step, path))
    assert len(whole.sums) == len(set(whole.sums)) == 12
    assert whole.names == list("abcdef") * 3
    resumed = fit(build(folder, workers=workers), resume=path)
    assert resumed.sums == whole.sums[step:]


def test_changes_that_break_the_order_are_said(folder, caplog):
    data = build(folder)
    data.setup("fit")
    data.load_state_dict({"epoch": 1, "batch": 1, **data._order_depends_on(), "seed": 5, "images": 9})
    with caplog.at_level(logging.WARNING):
        loader = data.train_dataloader()
    assert "sees other samples than before: seed, images changed" in caplog.text
    assert isinstance(loader.sampler, EpochSampler)
    assert (loader.sampler.epoch, loader.sampler.start) == (1, 2)


def test_the_loaders_leave_the_global_random_state_alone(folder):
    data = build(folder)
    data.setup("fit")
    before = torch.random.get_rng_state()
    list(data.train_dataloader())
    list(data.val_dataloader())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_order_and_crops_depend_on_the_seed(folder):
    def first(seed: int) -> Tensor:
        data = build(folder, seed=seed)
        data.setup("fit")
        return next(iter(data.train_dataloader()))

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_too_few_samples_for_a_batch_are_refused(folder):
    data = build(folder, samples_per_epoch=None, batch_size=8)
    data.setup("fit")
    with pytest.raises(DataError, match="6 samples for each rank, less than the batch size 8"):
        data.train_dataloader()


@pytest.mark.parametrize("key", ["crop", "batch_size", "samples_per_epoch", "validation_crop", "validation_limit"])
def test_numbers_below_one_are_refused(folder, key):
    with pytest.raises(DataError, match=f"data.{key} has to be at least 1, not 0"):
        build(folder, **{key: 0})


def test_missing_data_is_refused_in_setup(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        ImageDataModule("photos/train/*", None, root=str(tmp_path)).setup("fit")
    with pytest.raises(DataError, match="call setup"):
        build(tmp_path).train_dataloader()


def test_small_images_and_little_memory_are_said(folder, tmp_path, noise, caplog):
    noise(folder / "large.png", 500, 800)
    data = build(folder, crop=48, cache_mb=1, validation_limit=1)
    data.setup("fit")
    data.setup("fit")
    assert caplog.text.count("6 images are smaller than the crop of 48 pixels") == 1
    assert "6 of 7 images fit into 1 MiB" in caplog.text


def test_without_validation(folder):
    data = ImageDataModule(str(folder), None, crop=16, batch_size=2)
    data.setup("fit")
    assert data.val_dataloader() == []
    assert data.validation_name == "none"
    assert data.state_dict() == {}


def test_workers_are_chosen_by_memory_and_cores(folder, monkeypatch):
    monkeypatch.setattr(module, "default_workers", lambda: 1)
    data = build(folder, workers=None)
    data.setup("fit")
    assert data.train_dataloader().num_workers == 0
    data = build(folder, workers=None, cache_mb=0)
    data.setup("fit")
    loader = data.train_dataloader()
    assert loader.num_workers == 1
    assert loader.persistent_workers


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 0), (4, 2), (64, 4)])
def test_default_workers(monkeypatch, cores, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert module.default_workers() == workers


def test_photos_of_the_data_root(nic_data):
    data = from_config("photos", root=str(nic_data), validation_limit=2)
    data.setup("fit")
    assert len(data.train_images or []) == 268
    assert next(iter(data.train_dataloader())).shape == (8, 3, 240, 240)
    assert data.validation_name == "photos_valid"
    assert next(iter(data.val_dataloader()))[1].shape == (1, 3, 256, 256)


def test_the_embedded_default_trains_without_any_data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("NIC_DATA", str(tmp_path / "nothing"))
    data = from_config("embedded")
    data.setup("fit")
    assert len(data.train_dataloader()) == 100
    assert next(iter(data.train_dataloader())).shape == (8, 3, 128, 128)
    assert [names for names, _ in data.val_dataloader()] == [["rocket"]]


def of_single_images(path: Path) -> bool:
    """Sets of several domains, which build on data=domains, of optical flow and of clouds have modules of their own."""
    config = yaml.safe_load(path.read_text())
    return "defaults" not in config and path.stem not in ("domains", "flow") and "classes" not in config


@pytest.mark.parametrize("path", sorted(filter(of_single_images, CONF.glob("*.yaml"))), ids=lambda path: path.stem)
def test_every_config_names_only_arguments_of_the_module(path):
    config = yaml.safe_load(path.read_text())
    assert config.pop("_target_") == "nic_lightning.data.datamodule.ImageDataModule"
    assert config.pop("seed") == "${seed}"
    data = ImageDataModule(**config)
    assert data.crop in (128, 240)
