from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.utilities import GradClipAlgorithmType

from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.codecs.loading import build_codec, load_codec
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.data.domains import DomainFolders
from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import rate_distortion
from nic_lightning.tasks.base import fresh_tables
from nic_lightning.tasks.rate_distortion import RateDistortionTask

SMALL = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", "width": 6, "lambdas": [64, 512]}


class Losses(pl.Callback):
    """What each step logged."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps[trainer.global_step] = {k: float(v) for k, v in pl_module.latest.items()}


def codec_of(config=SMALL, seed: int = 0):
    torch.manual_seed(seed)
    return build_codec(config).train()


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


def test_one_adam_with_two_groups_is_two_adams(picture):
    x = picture(32, 32, n=2)
    codecs = [codec_of(), codec_of()]
    for codec in codecs:
        for point in codec.operating_points:  # the same noise everywhere: none
            codec.entropy_y[point.index].eval()
    task = RateDistortionTask(codecs[0], learning_rate=1e-3, quantile_learning_rate=1e-2)
    one = task.configure_optimizers()["optimizer"]
    named = dict(codecs[1].named_parameters())
    network = torch.optim.Adam([p for n, p in named.items() if not n.endswith("quantiles")], lr=1e-3)
    quantiles = torch.optim.Adam([p for n, p in named.items() if n.endswith("quantiles")], lr=1e-2)
    for _ in range(5):
        for codec, optimizers in ((codecs[0], [one]), (codecs[1], [network, quantiles])):
            codec.zero_grad()
            codec.eval()  # rounding instead of noise, so that both see the same
            losses = [rate_distortion(codec(x, p), x, p.lmbda).loss for p in codec.operating_points]
            if len(optimizers) == 1:
                (sum(losses) + codec.auxiliary_loss()).backward()
            else:
                sum(losses).backward()
                codec.auxiliary_loss().backward()
            for optimizer in optimizers:
                optimizer.step()
    for (name, mine), theirs in zip(codecs[0].named_parameters(), codecs[1].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6, msg=name)


def test_the_auxiliary_loss_is_of_float32_under_autocast():
    codec = codec_of()
    with torch.autocast("cpu", torch.bfloat16):
        loss = codec.auxiliary_loss()
    assert loss.dtype == torch.float32
    assert torch.equal(loss, codec.auxiliary_loss())


def test_quantiles_get_only_the_auxiliary_gradient(picture):
    codec, x = codec_of(), picture(32, 32)
    loss = sum(rate_distortion(codec(x, p), x, p.lmbda).loss for p in codec.operating_points)
    loss.backward()
    for name, parameter in codec.named_parameters():
        assert (parameter.grad is None) == name.endswith("quantiles"), name
    network = {n: p.grad.clone() for n, p in codec.named_parameters() if p.grad is not None}
    codec.auxiliary_loss().backward()
    for name, parameter in codec.named_parameters():
        assert torch.equal(parameter.grad, network[name]) if name in network else parameter.grad.any()


def test_groups_rates_and_halving():
    task = RateDistortionTask(codec_of(), learning_rate=4e-4, quantile_learning_rate=2e-3, halve_at=[2, 4])
    configured = task.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]
    assert schedule["interval"] == "step"
    assert [g["name"] for g in optimizer.param_groups] == ["network", "quantiles"]
    assert sum(p.numel() for p in optimizer.param_groups[1]["params"]) == 2 * 6 * 3
    rates = []
    for _ in range(5):
        rates.append([g["lr"] for g in optimizer.param_groups])
        optimizer.step()
        schedule["scheduler"].step()
    assert rates == [[4e-4, 2e-3]] * 2 + [[2e-4, 1e-3]] * 2 + [[1e-4, 5e-4]]


def test_factors_change_the_learning_rate_of_parts():
    task = RateDistortionTask(codec_of(), learning_rate=1e-3, learning_rate_factors={"modulation": 0.1, "g_a.convs": 2})
    groups = {g["name"]: g for g in task.configure_optimizers()["optimizer"].param_groups}
    assert {n: g["lr"] for n, g in groups.items()} == pytest.approx(
        {"network": 1e-3, "network.modulation": 1e-4, "network.g_a.convs": 2e-3, "quantiles": 1e-3}
    )
    names = {id(p): n for n, p in task.codec.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in groups["network.modulation"]["params"]} == {"modulation"}
    assert sum(len(g["params"]) for g in groups.values()) == len(names)  # "demodulation" is none of "modulation"
    for wrong, sentence in (({"modulator": 1.0}, "names 'modulator'"), ({"modulation": 0.0}, "positive")):
        with pytest.raises(UserError, match=sentence):
            RateDistortionTask(codec_of(), learning_rate_factors=wrong)


def test_both_rates_are_halved_in_training(fit):
    _, trainer = fit(5, codec=codec_of(), task={"halve_at": [3]})
    assert [g["lr"] for g in trainer.optimizers[0].param_groups] == [5e-4, 5e-3]


def test_the_networks_gradient_is_clipped_and_the_quantiles_is_not():
    task = RateDistortionTask(codec_of())
    optimizer = task.configure_optimizers()["optimizer"]
    for parameter in task.codec.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    task.configure_gradient_clipping(optimizer, 1.0)
    network, quantiles = (torch.cat([p.grad.flatten() for p in g["params"]]) for g in optimizer.param_groups)
    assert network.norm().item() == pytest.approx(1.0, rel=1e-4)
    assert (quantiles == 10).all()
    task.configure_gradient_clipping(optimizer, None)
    assert network.norm().item() == pytest.approx(1.0, rel=1e-4)


def test_the_networks_gradient_is_clipped_by_value_where_that_is_asked_for():
    task = RateDistortionTask(codec_of())
    optimizer = task.configure_optimizers()["optimizer"]
    for parameter in task.codec.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    task.configure_gradient_clipping(optimizer, 0.5, GradClipAlgorithmType.VALUE)
    network, quantiles = (torch.cat([p.grad.flatten() for p in g["params"]]) for g in optimizer.param_groups)
    assert (network == 0.5).all()
    assert (quantiles == 10).all()


@pytest.mark.parametrize(("precision", "fused"), [("16-mixed", False), ("bf16-mixed", True), ("32-true", True)])
def test_gradients_of_float16_are_unscaled_before_they_are_clipped(precision, fused):
    task = RateDistortionTask(codec_of())
    task._trainer = SimpleNamespace(precision=precision)
    optimizer = task.configure_optimizers()["optimizer"]
    # Lightning unscales for every optimiser that does not say that it does so itself.
    assert getattr(optimizer, "_step_supports_amp_scaling", False) == fused


def test_frozen_parameters_do_not_move(fit):
    codec = codec_of()
    before = copy.deepcopy(codec.state_dict())
    task, trainer = fit(3, codec=codec, task={"freeze": ["g_a", "g_s.gdns", "modulation.0.output.bias"]})
    frozen = ("g_a.", "g_s.gdns.", "modulation.0.output.bias")
    for name, parameter in task.codec.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith(frozen), name
    trained = {id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]}
    assert all((id(p) in trained) == p.requires_grad for p in task.codec.parameters())


@pytest.mark.parametrize("prefix", ["g_x", "g", "g_a.conv", "", "modulation.7", "codec.g_a"])
def test_a_freeze_prefix_that_names_nothing(prefix):
    with pytest.raises(UserError, match=r"task\.freeze .*entropy_y, g_a"):
        RateDistortionTask(codec_of(), freeze=[prefix])


def test_freezing_everything_is_refused():
    codec = codec_of()
    with pytest.raises(UserError, match="nothing is left to train"):
        RateDistortionTask(codec, freeze=sorted({n.split(".")[0] for n, _ in codec.named_parameters()}))


def test_codecs_and_data_of_another_task(make_codec):
    with pytest.raises(UserError, match=r"i2icodec translates; .* task=translation"):
        RateDistortionTask(make_codec("i2icodec", domains=["a", "b"], size=32, base=4, widest=8, latents=4, hyper=2))
    task = RateDistortionTask(codec_of())
    images = DomainFolders.__new__(DomainFolders)
    task._trainer = SimpleNamespace(datamodule=SimpleNamespace(train_images=images))
    with pytest.raises(UserError, match="images without domains: give data=folder"):
        task.on_fit_start()


@pytest.mark.parametrize("distortion", ["MSE", "msssim", "ms_ssim", ""])
def test_a_distortion_that_does_not_exist(distortion):
    with pytest.raises(UserError, match=r"task\.distortion .* mse or ms-ssim"):
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


@pytest.mark.parametrize("validate", [False, True])
def test_a_resumed_run_goes_on_as_if_never_interrupted(fit, tmp_path, validate):
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
        settings = {"codec_config": SMALL}
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
