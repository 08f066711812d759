"""Training of the flow's features: that it helps, goes on to the bit, and ends in a file."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.progress import summary
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.config import check_targets, compose
from nic_lightning.data.flow_crops import FlowSource
from nic_lightning.data.flow_sets import FlowItem
from nic_lightning.data.flow_training import FlowDataModule
from nic_lightning.errors import DataError, UserError
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.weights import load_lambdas, load_weights, to_npz
from nic_lightning.tasks.flow_features import FlowFeaturesTask
from tests.trainers import quiet_trainer


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two small pictures of texture."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(2):
        coarse = np.random.default_rng(seed).integers(0, 256, (30, 30, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((90, 90), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder


class Watch(pl.Callback):
    """What each step measured."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.steps[trainer.global_step] = {name: float(value) for name, value in pl_module.latest.items()}


def train(folder: Path, steps: int, photographs: Path, out: str = "run", data=None, ckpt_path=None, **task):
    """A few steps on tiny crops."""
    made = {"ratio": 1, "crop": 12, "batch_size": 2, "samples_per_epoch": 8, "largest": 4.0, "workers": 0}
    module = FlowDataModule([str(photographs)], **(made | (data or {})))
    torch.manual_seed(0)
    learner, watch = FlowFeaturesTask(**({"lambda_radius": 3, "validation_displacement": 6} | task)), Watch()
    trainer = quiet_trainer(
        max_steps=steps,
        limit_val_batches=0 if module.validation is None else None,
        default_root_dir=str(folder),
        callbacks=[watch, RandomState(), Checkpoints(folder / out, 2)],
        plugins=[AtomicCheckpointIO()],
    )
    trainer.fit(learner, datamodule=module, ckpt_path=ckpt_path, weights_only=True)
    return learner, trainer, watch.steps


def test_a_resumed_run_goes_on_as_if_never_interrupted(tmp_path, photographs):
    """Within an epoch and with negatives at random, which the random state decides."""
    choice = {"mining": "random", "lambdas": True, "lower_at": [4]}
    whole, _, steps = train(tmp_path, 6, photographs, "whole", **choice)
    assert [steps[n]["train/loss"] for n in (1, 2)] != [steps[n]["train/loss"] for n in (2, 3)]
    train(tmp_path, 3, photographs, "cut", **choice)
    torch.manual_seed(99)
    again, trainer, resumed = train(
        tmp_path, 6, photographs, "cut", ckpt_path=str(tmp_path / "cut" / "last.ckpt"), **choice
    )
    assert sorted(resumed) == [3, 4, 5, 6]
    assert all(resumed[n] == steps[n] for n in resumed)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([0.01, 0.002])


def test_what_was_trained_becomes_a_file(tmp_path, photographs, capsys, caplog):
    validation = {"validation": str(photographs), "validation_side": 40}
    task, trainer, steps = train(tmp_path, 4, photographs, data=validation, lambdas=True)
    assert {"val/" + photographs.name + end for end in ("/epe", "/epe_noc", "/epe_triple", "/epe_triple_noc")} <= set(
        trainer.callback_metrics
    )
    assert set(steps[4]) == {"train/loss", "train/wins", "train/matching", *(f"train/lambda{n}" for n in (1, 2, 3))}
    assert all(math.isfinite(value) for values in steps.values() for value in values.values())
    shown = summary(steps[4])
    assert f"loss {steps[4]['train/loss']:.3f}" in shown
    task.finish(tmp_path)
    assert "all look alike" not in caplog.text
    said = capsys.readouterr().out
    assert f"--weights {tmp_path / 'features.npz'}" in said
    assert "--set lambdas=learned" in said
    found = load_weights(tmp_path / "features.npz")
    assert all(np.array_equal(found[name], value.numpy()) for name, value in task.network.state_dict().items())
    trainer.save_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert load_lambdas(tmp_path) == load_lambdas(tmp_path / "features.npz") == task.lambdas
    assert sum(task.lambdas) == pytest.approx(1)
    other = FlowFeaturesTask(train_features=False, lambdas=True)
    other.start_from(str(tmp_path))
    assert torch.equal(other.network.conv4.weight, task.network.conv4.weight)
    optimiser = other.configure_optimizers()["optimizer"]
    assert [group["name"] for group in optimiser.param_groups] == ["lambdas"]
    assert sum(p.numel() for group in optimiser.param_groups for p in group["params"]) == 4


def test_features_that_have_become_the_same_everywhere_are_told(tmp_path, photographs, caplog):
    task = FlowFeaturesTask(margin=0.5)
    same = {"conv4.weight": torch.zeros(64, 64, 3, 3), "conv4.bias": torch.ones(64)}
    task.network.load_state_dict(same, strict=False)
    data = FlowDataModule([str(photographs)], ratio=1, crop=12, batch_size=2, largest=4.0, workers=0)
    data.setup("fit")
    task._trainer = SimpleNamespace(log_every_n_steps=0, global_step=0)
    assert task.training_step(next(iter(data.train_dataloader())), 0).item() == pytest.approx(0.5)
    task.finish(tmp_path)
    assert "all look alike, task.margin" in caplog.text


def test_lambdas_alone_leave_the_features_as_they_are(tmp_path, photographs):
    torch.manual_seed(1)
    weights = {name: value.numpy() for name, value in FeatureNetwork().state_dict().items()}
    (tmp_path / "given.npz").write_bytes(to_npz(weights))
    with pytest.raises(UserError, match="needs trained features: give init_from"):
        train(tmp_path, 1, photographs, train_features=False, lambdas=True)
    task = FlowFeaturesTask(train_features=False, lambdas=True)
    task.start_from(str(tmp_path / "given.npz"))
    data = FlowDataModule([str(photographs)], ratio=1, crop=16, batch_size=2, largest=4.0, workers=0)
    data.setup("fit")
    task._trainer = SimpleNamespace(log_every_n_steps=0, global_step=0)
    batch = next(iter(data.train_dataloader()))
    task.training_step(batch, 0).backward()
    assert all(parameter.grad is None for parameter in task.network.parameters())
    assert task.weighting.logits.grad.abs().sum() > 0


def test_what_a_user_gets_wrong(tmp_path, photographs):
    for wrong, sentence in (
        ({"mining": "easiest"}, "hardest or random"),
        ({"optimizer": "lion"}, "sgd or adam"),
        ({"inner": 5.0}, "0 <= inner < outer"),
        ({"inner": 0.0, "outer": 0.5}, "0 <= inner < outer"),
        ({"margin": 0.0}, r"\(0, 4\]"),
        ({"negatives": 0}, "at least 1"),
        ({"train_features": False}, "Nothing is left to train"),
    ):
        with pytest.raises(UserError, match=sentence):
            FlowFeaturesTask(**wrong)
    with pytest.raises(DataError, match="no feature weights at"):
        FlowFeaturesTask().start_from(str(tmp_path / "nowhere.npz"))
    task = FlowFeaturesTask(lambdas=True)
    small = FlowDataModule([str(photographs)], crop=12)
    pairs = FlowDataModule(sets=["middlebury"])
    pairs.train_images = FlowSource(None, [FlowItem("a", "a", None, Path("b"), Path("c"), None, Path("d"))])
    for data, sentence in (
        (None, "frames of known motion: give data=flow"),
        (small, r"data\.crop is 12; .* twice task\.lambda_radius, 6"),
        (pairs, "no frame of data.sets has one before"),
    ):
        task._trainer = SimpleNamespace(datamodule=data, ckpt_path=None)
        with pytest.raises(UserError, match=sentence):
            task.on_fit_start()


@pytest.mark.parametrize("name", ["flow_features", "flow_features_small"])
def test_recipes_compose(name):
    config = compose("train", [f"experiment={name}"])
    assert check_targets(config) == []
    assert config.codec is None
    assert list(config.evaluation.datasets) == []


@pytest.mark.slow
def test_training_lowers_the_error_of_flow(tmp_path):
    """On embedded photographs in motion, validated on others."""
    data = FlowDataModule(["embedded_train"], validation="embedded_valid", crop=24, batch_size=4, workers=0)
    torch.manual_seed(0)
    task = FlowFeaturesTask(optimizer="adam", learning_rate=2e-3)
    trainer = quiet_trainer(max_steps=60, default_root_dir=str(tmp_path))
    (before,) = trainer.validate(task, datamodule=data, verbose=False)
    trainer.fit(task, datamodule=data)
    (after,) = trainer.validate(task, datamodule=data, verbose=False)
    assert after["val/embedded_valid/epe_noc"] < 0.8 * before["val/embedded_valid/epe_noc"]
