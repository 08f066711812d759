from __future__ import annotations

import math

import pytest
import torch

from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.codecs.loading import build_codec, load_codec
from nic_lightning.entropy.side_information import part_of_image
from nic_lightning.errors import UserError
from nic_lightning.tasks.base import fresh_tables
from nic_lightning.tasks.distribution import EncodingDistributionTask
from tests.conftest import Crops
from tests.tasks.samples import Losses, codec_of
from tests.trainers import quiet_trainer

BASE = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "width": 6, "lambdas": [64, 512]}
CONFIG = {
    "_target_": "nic_lightning.codecs.encoding_distribution.EncodingDistribution", "base": BASE,
    "bins": 32, "hidden": 8, "side": 4, "groups": 4,
}  # fmt: skip


def wrapped() -> EncodingDistribution:
    codec = codec_of(CONFIG)
    with torch.no_grad():
        for parameter in codec.base.parameters():
            if parameter.dim() == 4:
                parameter.mul_(4.0)  # symbols of an untrained codec are nearly all 0
    return codec


def train(steps: int, tmp_path, codec=None, callbacks=(), **arguments):
    task = EncodingDistributionTask(
        codec or wrapped(), CONFIG, **{"target": [256, 256], "learning_rate": 1e-2, **arguments}
    )
    trainer = quiet_trainer(max_steps=steps, default_root_dir=str(tmp_path), callbacks=list(callbacks))
    torch.manual_seed(0)
    trainer.fit(task, datamodule=Crops(side=64))
    return task, trainer


def test_training_makes_adapted_tables_cheaper_than_static_ones(tmp_path):
    losses = Losses()
    task, trainer = train(60, tmp_path, callbacks=[losses])
    last = losses.steps[60]
    for label in ("64", "512"):
        assert last[f"train/bpp@{label}"] < last[f"train/static_bpp@{label}"]
        assert 0 < last[f"train/bpp_side@{label}"] < last[f"train/bpp@{label}"]
    assert last["train/loss"] == pytest.approx(sum(last[f"train/bpp@{v}"] for v in ("64", "512")), rel=1e-5)
    validated = {k: float(v) for k, v in trainer.validate(task, task.trainer.datamodule, verbose=False)[0].items()}
    for label in ("64", "512"):
        # whole images, one flag bit at most: 20x33 pixels
        found, static = (validated[f"val/noise/{m}@{label}"] for m in ("bpp_estimated", "static_bpp"))
        assert found <= static + 1 / 660


def test_only_the_networks_and_the_model_of_q_change(tmp_path):
    codec = wrapped()
    before = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    task, _ = train(10, tmp_path, codec)
    changed = {name for name, tensor in codec.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(".transforms." in n or ".entropy_q." in n or ".exact." in n for n in changed)
    assert any(".transforms.h_a.0.weight" in n for n in changed)
    groups = {g["name"]: g["params"] for g in task.configure_optimizers()["optimizer"].param_groups}
    assert set(groups) == {"network", "quantiles"}
    assert len(groups["quantiles"]) == 2
    learned = {id(p) for group in groups.values() for p in group}
    assert learned == {id(p) for model in codec.bottlenecks.values() for p in model.parameters()}


def test_end_to_end_the_transforms_learn_and_static_tables_stay(tmp_path):
    codec = wrapped()
    before = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    losses = Losses()
    task, trainer = train(4, tmp_path, codec, callbacks=[losses], end_to_end=True, learning_rate=1e-3)
    last = losses.steps[4]
    rates = sum(last[f"train/bpp@{label}"] for label in ("64", "512"))
    weighted = sum(float(label) * last[f"train/mse@{label}"] for label in ("64", "512"))
    assert last["train/loss"] == pytest.approx(rates + weighted, rel=1e-5)
    changed = {name for name, tensor in codec.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any(".g_a." in name for name in changed)
    assert any(".g_s." in name for name in changed)
    kept = ("centres", "entropy_y.0._quantized_cdf", "entropy_y.1._quantized_cdf")
    assert not any(name.endswith(kept) for name in changed)
    found = trainer.validate(task, task.trainer.datamodule, verbose=False)[0]
    assert {"val/noise/psnr@64", "val/noise/psnr@512"} <= set(found)


def test_end_to_end_needs_the_lambda_of_every_point():
    base = {"_target_": "nic_lightning.codecs.factorised_prior.FactorisedPrior", "width": 4, "latents": 4}
    codec = codec_of({**CONFIG, "base": {**base, "lmbda": None, "label": "q3"}})
    with pytest.raises(
        UserError, match=r"Point q3 of codec factorised_prior has no lambda to train with; give codec\.lmbda"
    ):
        EncodingDistributionTask(codec, end_to_end=True)


def test_its_checkpoint_is_all_that_a_decoder_needs(tmp_path, picture):
    task, trainer = train(4, tmp_path)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    tables = fresh_tables(task.codec)
    assert not any(name.endswith("_quantized_cdf") and "entropy_z" in name for name in tables)
    codec = load_codec(tmp_path / "last.ckpt")
    for point in codec.operating_points:
        data = codec.pack(codec.compress(picture(40, 40), point), point)
        assert codec.decompress(*codec.unpack(data)).shape == (1, 3, 40, 40)
    for name, model in task.codec.bottlenecks.items():
        assert torch.equal(model._quantized_cdf, codec.bottlenecks[name]._quantized_cdf)


def test_a_crop_weighs_side_information_by_the_image_that_it_stands_for():
    task = EncodingDistributionTask(wrapped(), target=[512, 768])
    assert 1 / task.enlargement(256 * 256) == pytest.approx(1 / 6)
    assert task.enlargement(1024 * 1024) == 1.0
    seen = []

    def likelihoods(y, point):
        seen.append(part_of_image())
        side = {"q": torch.full((1, 1, 8), 0.5), "flag": torch.full((1, 1, 1), 0.5)}
        return y, {"y": torch.full_like(y, 0.5), **side}

    task.codec.likelihoods = likelihoods
    task.logs_after = lambda steps: False
    task.codec.auxiliary_loss = lambda: torch.zeros(())
    loss = task.training_step(torch.rand(1, 3, 64, 64), 0)
    larger = 512 * 768 / 64**2
    assert seen == [larger] * 2
    # one bit for each latent, of which 6 stand for 16x16 pixels, and 9 bits an image
    assert float(loss) == pytest.approx(2 * (6 / 256 + 9 / larger / 64**2), rel=1e-6)
    assert part_of_image() == 1.0


def test_drawn_sizes_reach_from_the_crop_to_the_largest_image():
    task = EncodingDistributionTask(wrapped())
    torch.manual_seed(0)
    drawn = [task.enlargement(256 * 256) for _ in range(200)]
    assert 1 <= min(drawn) < 1.2
    assert 200 < max(drawn) <= 256
    # log-uniform: the median is the root; of 200 draws it is off by 2^(8 * .1) at most in all but 5 of 1000 cases
    assert abs(math.log2(sorted(drawn)[100]) - 4) < 0.8


def test_what_it_does_not_train():
    with pytest.raises(UserError, match=r"no tables that are adapted; give codec=encoding_distribution init_from=RUN"):
        EncodingDistributionTask(build_codec(BASE))
    for target in ([512], [0, 4]):
        with pytest.raises(UserError, match=r"task\.target .* give height and width"):
            EncodingDistributionTask(wrapped(), target=target)
