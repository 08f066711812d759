"""Training for classification learns shapes in a few bits, and refuses what it is not for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from nic_lightning.codecs.base import CodecOutput
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.data.cloud_module import CloudDataModule
from nic_lightning.errors import UserError
from nic_lightning.losses.classification import rate_accuracy
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.tasks.classification import ClassificationTask
from tests.data.shapes import CLASSES, write_set
from tests.trainers import quiet_trainer


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> str:
    return str(write_set(tmp_path_factory.mktemp("data") / "shapes", train=40, test=12))


def trained(shapes: str, steps: int, lmbda: float = 160.0, **arguments: Any) -> tuple[ClassificationTask, Any]:
    torch.manual_seed(0)
    codec = PointCloudCodec("micro", CLASSES, lmbda, points=64, **arguments)
    task = ClassificationTask(codec, learning_rate=3e-3, quantile_learning_rate=1e-2, chamfer=100.0)
    data = CloudDataModule(shapes, points=64, batch_size=32, sampled=96, workers=0)
    trainer = quiet_trainer(max_steps=steps, log_every_n_steps=1, gradient_clip_val=1.0)
    trainer.fit(task, datamodule=data)
    return task, trainer


def measured(task: ClassificationTask, shapes: str) -> dict[str, float]:
    """Means over the test split, of files."""
    from nic_lightning.data.evaluation_sets import open_sets
    from nic_lightning.media.base import find_medium

    (inputs,) = open_sets([shapes], find_medium("cloud")).values()
    task.codec.eval().update_tables()
    rows = evaluate_codec(task.codec, inputs, "shapes")
    keys = ("accuracy", "bits", "bits_estimated", "cross_entropy")
    return {key: sum(row[key] for row in rows) / len(rows) for key in keys}


def test_the_loss_is_that_of_its_formula():
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    output = CodecOutput(scores, {"y": torch.full((2, 4, 1, 1), 0.25)}, scores, scores)
    terms = rate_accuracy(output, torch.tensor([1, 2]), 10.0)
    assert terms.bits.item() == pytest.approx(8)
    assert terms.cross_entropy.item() == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2)
    assert terms.loss.item() == pytest.approx(10 * terms.cross_entropy.item() + 8)
    assert terms.accuracy.item() == 0.5


def test_a_micro_codec_tells_shapes_in_a_few_bits(shapes):
    task, trainer = trained(shapes, 150)
    values = measured(task, shapes)
    assert values["accuracy"] >= 0.88
    assert values["bits_estimated"] <= 60
    # An end of a bit and less than two, the share of a block of one, and tables of 16 bits.
    assert -0.1 < values["bits"] - values["bits_estimated"] < 3.1
    logged = trainer.callback_metrics
    assert logged["val/shapes_held_out/accuracy@160"] > 0.8


def test_bits_grow_with_lambda(shapes):
    few, many = (measured(trained(shapes, 100, lmbda)[0], shapes) for lmbda in (3.0, 600.0))
    assert few["bits_estimated"] < many["bits_estimated"]


def test_reconstruction_is_learned_beside(shapes):
    task, trainer = trained(shapes, 40, reconstruct=True)
    assert any(name.startswith("train/chamfer@") for name in trainer.logged_metrics)
    assert task.latest["train/chamfer@160"] < 0.3


def test_what_it_is_not_for_is_refused(shapes):
    with pytest.raises(UserError, match="has no classes"):
        ClassificationTask(CompressiveAutoencoder(4))
    with pytest.raises(UserError, match=r"task\.chamfer"):
        ClassificationTask(PointCloudCodec(), chamfer=-1.0)
    task = ClassificationTask(PointCloudCodec())
    task.trainer = quiet_trainer(max_steps=1)
    with pytest.raises(UserError, match="trains on labelled clouds"):
        task.on_fit_start()
