"""What a rate-distortion step does with gradients: groups, learning rates, clipping, frozen parts."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.utilities import GradClipAlgorithmType

from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import rate_distortion
from nic_lightning.tasks.rate_distortion import RateDistortionTask
from tests.tasks.samples import codec_of


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
