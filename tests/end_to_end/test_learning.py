"""Codecs that were really trained, for a minute or so: rate-distortion behaviour, not numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

import pytest
import pytorch_lightning as pl
import torch

from nic_lightning.bitstream import truncate
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.codecs.scalable import ScalableAutoencoder
from nic_lightning.codecs.search import search_point
from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.codecs.slimmable_context import SlimmableContext
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.data.datasets import evaluation_set
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.fidelity import psnr
from nic_lightning.tasks.rate_distortion import RateDistortionTask
from tests.trainers import quiet_trainer


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Initial weights as well: at so few steps some of them learn less than the margins below."""
    torch.manual_seed(2)


def train(codec: LearnedCodec, steps: int) -> LearnedCodec:
    pl.seed_everything(0, verbose=False)
    task = RateDistortionTask(codec, learning_rate=4e-3, halve_at=[steps * 6 // 10, steps * 8 // 10])
    data = ImageDataModule("embedded_train", "embedded_valid", crop=64, batch_size=8, samples_per_epoch=8 * steps)
    trainer = quiet_trainer(max_steps=steps, gradient_clip_val=1.0, limit_val_batches=0)
    trainer.fit(task, datamodule=data)
    codec.eval().requires_grad_(False)
    codec.update_tables()
    return codec


def curve(codecs: Sequence[LearnedCodec], names: Sequence[str] = ("embedded",)) -> list[dict[str, float | str]]:
    """Points of real files, means over the images."""
    points = []
    for codec in codecs:
        rows = [r for name in names for r in evaluate_codec(codec, list(evaluation_set(name)), name)]
        for label in dict.fromkeys(row["label"] for row in rows):
            here = [row for row in rows if row["label"] == label]
            points.append({"label": label} | {k: mean(r[k] for r in here) for k in ("bpp", "bpp_estimated", "psnr")})
    return points


def test_a_trained_modulated_autoencoder_trades_rate_for_quality():
    codec = train(ModulatedAutoencoder(16, (16, 1024), kernel_param="rdft"), 300)
    points = curve([codec])
    assert points[0]["bpp"] < points[1]["bpp"]
    assert points[0]["psnr"] < points[1]["psnr"]
    assert points[1]["psnr"] > 20  # it learned something: gray images are at 13 to 15 dB
    for point in points:
        assert point["bpp"] == pytest.approx(point["bpp_estimated"], rel=0.03)  # the header is about 1 % here
    x = evaluation_set("embedded")[0][1][None]
    target = mean(len(codec.pack(codec.compress(x, p), p)) * 8 / x[0, 0].numel() for p in codec.operating_points)
    found = search_point(codec, x, bpp=target)
    assert found.bpp == pytest.approx(target, rel=0.02)
    assert found.message is None
    assert torch.equal(codec.decompress(*codec.unpack(found.data)), codec.decompress(found.encoded, found.point))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SlimmableAutoencoder, SlimmableContext])
def test_a_trained_slimmable_codec_trades_rate_for_width(kind):
    hyper = {} if kind is SlimmableAutoencoder else {"hyper_widths": [4, 8, 16]}
    codec = train(kind([6, 12, 24], lambdas=[32, 128, 512], kernel_param="rdft", **hyper), 300)
    points = curve([codec])
    for narrow, wide in pairwise(points):
        assert narrow["bpp"] < wide["bpp"]
        assert narrow["psnr"] < wide["psnr"]
    assert points[-1]["psnr"] > 20
    for point in points:
        assert point["bpp"] == pytest.approx(point["bpp_estimated"], rel=0.05)
    alone = curve([codec.narrowed(12)])
    assert [point["bpp"] for point in alone] == [point["bpp"] for point in points[:2]]


@pytest.mark.slow
def test_a_trained_scalable_autoencoder_refines_layer_by_layer():
    codec = train(ScalableAutoencoder([6, 12, 24], [32, 128, 512], kernel_param="rdft"), 300)
    points = curve([codec])
    for low, high in pairwise(points):
        assert low["bpp"] < high["bpp"]
        assert low["psnr"] < high["psnr"]
    assert points[-1]["psnr"] > 20
    for point in points:
        assert point["bpp"] == pytest.approx(point["bpp_estimated"], rel=0.05)  # the header is up to 3 % here
    x, whole = evaluation_set("embedded")[0][1][None], codec.operating_points[-1]
    file = codec.pack(codec.compress(x, whole), whole)
    fidelity = [psnr(x, codec.decompress(*codec.unpack(truncate(file, count)))).item() for count in (1, 2, 3)]
    assert fidelity == sorted(fidelity)
