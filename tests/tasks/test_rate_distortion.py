from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.codecs.loading import load_codec
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import UserError
from nic_lightning.tasks.base import fresh_tables
from nic_lightning.tasks.rate_distortion import RateDistortionTask
from tests.tasks.samples import SMALL, Losses, codec_of


def test_training_lowers_the_loss(fit):
    losses = Losses()
    fit(60, codec=codec_of(), task={"learning_rate": 1e-2}, trainer={"callbacks": [losses]})
    first, last = losses.steps[1], losses.steps[60]
    assert last["train/loss"] < 0.7 * first["train/loss"]
    assert {f"train/{m}@{v}" for m in ("bpp", "mse") for v in (64, 512)} <= first.keys()
    assert first["train/loss"] == pytest.approx(
        sum(first[f"train/bpp@{v}"] + v * first[f"train/mse@{v}"] for v in (64, 512)), rel=1e-5
    )


@pytest.mark.parametrize("name", ["modulated", "conditional", "modulated_hyperprior", "slimmable"])
def test_fifty_steps_in_bfloat16_stay_finite(fit, name):
    losses = Losses()
    arguments = {"lambdas": [64, 4096], **({"widths": [4, 8]} if name == "slimmable" else {})}
    task, _ = fit(50, name, trainer={"precision": "bf16-mixed", "callbacks": [losses]}, codec_arguments=arguments)
    assert len(losses.steps) == 50
    assert all(math.isfinite(v) for step in losses.steps.values() for v in step.values())
    assert all(p.isfinite().all() for p in task.parameters())
    assert all(p.dtype == torch.float32 for p in task.parameters())


def test_codecs_and_data_of_another_task(make_codec):
    with pytest.raises(UserError, match=r"i2icodec translates; .* task=translation"):
        RateDistortionTask(make_codec("i2icodec", domains=["a", "b"], size=32, base=4, widest=8, latents=4, hyper=2))
    task = RateDistortionTask(codec_of())
    images = DomainFolders.__new__(DomainFolders)
    task._trainer = SimpleNamespace(datamodule=SimpleNamespace(train_images=images))
    with pytest.raises(UserError, match="images without domains: give data=folder"):
        task.on_fit_start()


@pytest.mark.parametrize(("name", "multiple"), [("modulated", 16), ("light", 64), ("mean_scale", 64)])
def test_crops_that_would_be_padded_are_cut(make_codec, monkeypatch, caplog, name, multiple):
    """Padding has no distortion: a codec that always sees some learns to drop right and bottom edges."""
    codec, seen = make_codec(name), []
    task = RateDistortionTask(codec)
    monkeypatch.setattr(codec, "training_outputs", lambda x: seen.append(tuple(x.shape[2:])) or iter(()))
    monkeypatch.setattr(task, "whole_loss", lambda loss, logged, count: loss)
    for shape in [(240, 256), (multiple, multiple + 1), (multiple // 2, 3 * multiple - 1)]:
        task.training_step(torch.rand(2, 3, *shape), 0)
    assert codec.downsampling == multiple
    assert all(side % multiple == 0 or side < multiple for shape in seen for side in shape)
    assert seen[0] == (240 // multiple * multiple, 256)
    assert seen[1:] == [(multiple, multiple), (multiple // 2, 2 * multiple)]
    task._trainer = SimpleNamespace(datamodule=SimpleNamespace(crop=240))
    with caplog.at_level("INFO"):
        task.on_fit_start()
    said = "Crops of 240 pixels are cut to 192, a multiple of the codec's 64; data.crop=256 would use all of them."
    assert caplog.messages == ([said] if multiple == 64 else [])


def test_weights_of_an_unknown_lambda_are_not_trained_for_rate_alone(make_codec):
    codec = make_codec("factorised_prior", latents=6, lmbda=None, label="theirs")
    with pytest.raises(UserError, match=r"Point theirs of codec factorised_prior has no lambda to train with"):
        RateDistortionTask(codec)


@pytest.mark.parametrize("distortion", ["MSE", "msssim", "ms_ssim", ""])
def test_a_distortion_that_does_not_exist(distortion):
    with pytest.raises(UserError, match=r"no distortion .* task\.distortion; .*mse, l1, ms-ssim, lpips"):
        RateDistortionTask(codec_of(), distortion=distortion)


def test_validation_logs_every_point_and_refreshes_tables(fit):
    class Validated(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            self.metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
            self.auxiliary = float(pl_module.codec.auxiliary_loss().detach())

    seen = Validated()
    task, _ = fit(3, codec=codec_of(), trainer={"val_check_interval": 3, "callbacks": [seen]})
    assert set(seen.metrics) == {"val/noise/loss"} | {
        f"val/noise/{m}@{v}" for m in ("psnr", "bpp_estimated") for v in (64, 512)
    }
    assert all(math.isfinite(v) for v in seen.metrics.values())
    assert seen.auxiliary < 1.0  # quantiles were moved to where they belong
    assert all(m.tables.cdf.size for m in task.codec.entropy_models())


def test_training_goes_on_after_validation(fit, picture):
    """Validation runs in inference mode: what it leaves in the codec must still be trainable, savable, usable."""
    task, trainer = fit(6, codec=codec_of(), trainer={"val_check_interval": 2})
    assert trainer.global_step == 6
    assert not any(t.is_inference() for t in [*task.codec.buffers(), *task.codec.parameters()])
    task.codec.eval()
    point = task.codec.operating_points[0]
    encoded = task.codec.compress(picture(20, 20), point)
    assert torch.equal(task.codec.decode_latents(encoded, point)["y"], encoded.latents["y"])


def test_a_checkpoint_is_plain_and_holds_fresh_tables(fit, tmp_path, picture):
    task, trainer = fit(3, codec=codec_of(), task={"codec_config": SMALL}, trainer={"callbacks": [RandomState()]})
    quantiles = task.codec.entropy_y[0].quantiles.clone()
    draw = torch.get_rng_state()
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert torch.equal(task.codec.entropy_y[0].quantiles, quantiles)  # saving does not touch the model in training
    assert torch.equal(torch.get_rng_state(), draw)
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["codec"]["config"] == SMALL
    codec = load_codec(tmp_path / "x.ckpt")
    twin = copy.deepcopy(task.codec).eval()
    twin.update_tables()
    for name, value in codec.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name
    point = codec.operating_points[0]
    data = codec.pack(codec.compress(picture(33, 20), point), point)
    encoded, _ = twin.unpack(data)
    assert torch.equal(twin.decompress(encoded, point), codec.decompress(*codec.unpack(data)))


def test_fresh_tables_name_every_entropy_model(make_codec):
    codec = make_codec("modulated_hyperprior", lambdas=[64, 512])
    tables = fresh_tables(codec)
    expected = {k for k in codec.state_dict() if k.startswith("entropy_")}
    assert tables.keys() == expected
    assert all(v.device.type == "cpu" and not v.requires_grad for v in tables.values())


@pytest.mark.parametrize(("validate", "average"), [(False, None), (True, None), (True, 0.9)])
def test_a_resumed_run_goes_on_as_if_never_interrupted(fit, tmp_path, validate, average):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(20):  # ten steps an epoch
        pixels = torch.randint(0, 256, (40, 50, 3), generator=torch.Generator().manual_seed(i), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(images / f"{i}.png")

    def run(steps: int, folder: str, **arguments):
        data = ImageDataModule(str(images), str(images) if validate else None, crop=32, batch_size=2, workers=0)
        losses = Losses()
        trainer = {
            "callbacks": [losses, RandomState(), Checkpoints(tmp_path / folder, 2)],
            "plugins": [AtomicCheckpointIO()],
            "use_distributed_sampler": False,
            "limit_val_batches": 1 if validate else 0,
        }
        trainer |= {"val_check_interval": 2} if validate else {}
        settings = {"codec_config": SMALL, "average": average}
        task, lightning = fit(steps, codec=codec_of(), task=settings, trainer=trainer, data=data, **arguments)
        return task, lightning, losses

    whole, _, uninterrupted = run(8, "whole")
    _, first, before = run(5, "cut")  # dies a step after its checkpoint
    assert first.global_step == 5
    torch.manual_seed(99)
    resumed_task, _, resumed = run(8, "cut", ckpt_path=str(tmp_path / "cut" / "last.ckpt"))
    assert sorted(resumed.steps) == [5, 6, 7, 8]
    for step, values in resumed.steps.items():
        assert values == uninterrupted.steps[step], step
    for step, values in before.steps.items():
        assert values == uninterrupted.steps[step], step
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed_task.state_dict()[name]), name
    if average is not None:
        assert whole.average.steps == resumed_task.average.steps == 8
        for name, value in whole.average.values.items():
            assert torch.equal(value, resumed_task.average.values[name]), name
