"""What reconstructions cost: names, mixtures, functions of one's own, and what is refused."""

from __future__ import annotations

import functools

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.config import check_targets, compose
from nic_lightning.errors import UserError
from nic_lightning.metrics.lpips import LpipsAlex
from nic_lightning.tasks import distortion
from nic_lightning.tasks.distortion import LpipsLoss, chosen_distortion
from tests.tasks.samples import codec_of


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, 40, 40), torch.rand(2, 3, 40, 40)


@pytest.fixture
def lpips(monkeypatch) -> LpipsAlex:
    torch.manual_seed(0)
    network = LpipsAlex().eval().requires_grad_(False)
    monkeypatch.setattr(distortion, "load_lpips", lambda file: network)
    return network


def squares(x_hat: Tensor, x: Tensor, power: float = 2.0) -> Tensor:
    return (x_hat - x).abs().pow(power).sum()


def test_mixtures_are_weighted_sums(pair):
    x_hat, x = pair
    name, cost = chosen_distortion({"mse": 2, "l1": 0.5})
    assert name == "mixture"
    torch.testing.assert_close(cost(x_hat, x), 2 * F.mse_loss(x_hat, x) + 0.5 * F.l1_loss(x_hat, x))


def test_lpips_is_the_metric_with_gradients(pair, lpips):
    x_hat, x = pair
    cost = LpipsLoss()
    torch.testing.assert_close(cost(x_hat, x), lpips(x_hat, x).mean())
    x_hat.requires_grad_(True)
    cost(x_hat, x).backward()
    assert x_hat.grad.abs().sum() > 0
    assert all(p.grad is None for p in lpips.parameters())
    with pytest.raises(UserError, match="31 pixels a side"):
        cost(x_hat[..., :16, :16], x[..., :16, :16])


def test_functions_of_ones_own(pair):
    name, cost = chosen_distortion(functools.partial(squares, power=1.0))
    assert name == "squares"
    assert cost(*pair) == (pair[0] - pair[1]).abs().sum()
    assert chosen_distortion(nn.MSELoss())[0] == "MSELoss"


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ("psnr", "no distortion 'psnr'"),
        ({"mse": 1, "msssim": 1}, "no distortion 'msssim'"),
        ({"mse": -1}, "weights above 0"),
        ({"mse": True}, "weights above 0"),
        ({"mse": float("nan")}, "weights above 0"),
        ({}, "weights above 0"),
        (5, "task.distortion is 5"),
    ],
)
def test_wishes_that_make_no_sense(wish, sentence):
    with pytest.raises(UserError, match=sentence):
        chosen_distortion(wish)


def test_lpips_without_weights_says_where_they_belong(monkeypatch):
    monkeypatch.setattr(distortion, "load_lpips", lambda file: None)
    with pytest.raises(UserError, match="nic data weights"):
        chosen_distortion({"mse": 1, "lpips": 0.1})


@pytest.mark.parametrize(
    ("override", "logged"),
    [
        ("task.distortion={mse: 1, l1: 0.1}", "train/mixture@64"),
        ("task.distortion=l1", "train/l1@64"),
        ("task.distortion={_target_: tests.tasks.test_distortion.squares, _partial_: true}", "train/squares@64"),
    ],
)
def test_a_task_of_a_config_trains_with_it(override, logged, picture):
    config = compose("train", ["codec.width=8", override])
    assert check_targets(config) == []
    task = instantiate(config.task, _partial_=True, _convert_="all")(codec=codec_of(), codec_config=None)
    task.logs_after = lambda steps: False
    loss = task.training_step(picture(32, 32, n=2), 0)
    loss.backward()
    assert logged.replace("64", task.codec.operating_points[0].label) in task.latest
    assert not any("lpips" in name for name in task.state_dict())
