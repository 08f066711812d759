from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.light import LightHyperprior, first_half
from nic_lightning.errors import UserError
from tests.codecs.samples import excited

SMALL = {"width": 8, "deep": 8, "latents": 6, "hyper": 6, "blocks": [1, 1, 1, 1], "hidden": 4}


def codec(**arguments) -> LightHyperprior:
    torch.manual_seed(0)
    return LightHyperprior(**{**SMALL, **arguments})


def test_each_half_of_the_latents_is_a_checkerboard_and_every_position_has_both():
    first = first_half(torch.zeros(2, 6, 4, 5))
    assert first.shape == (1, 6, 4, 5)
    assert torch.equal(first[0, 0, :2, :2], torch.tensor([[True, False], [False, True]]))
    assert torch.equal(first[:, :3], ~first[:, 3:])


def test_crops_are_dealt_out_among_the_lambdas():
    model = codec(lambdas=[64, 512]).train()
    x = torch.rand(4, 3, 64, 64)
    shares = list(model.training_outputs(x))
    assert [point.label for point, _, _ in shares] == ["64", "512"]
    assert torch.equal(torch.cat([crops for _, crops, _ in shares]), x)
    for (point, _, output), (low, high) in zip(shares, [(64, 181.02), (181.01, 512)], strict=True):
        assert low <= point.lmbda <= high
        assert output.x_hat.shape == (2, 3, 64, 64)
        assert output.likelihoods["y"].shape[0] == output.likelihoods["z"].shape[0] == 2


def test_a_share_gives_what_its_crops_give_alone():
    model = excited(codec(lambdas=[64, 512]))
    x = torch.rand(2, 3, 64, 64)
    for point, crops, output in model.training_outputs(x):
        alone = model(crops, point)
        torch.testing.assert_close(output.y, alone.y, rtol=1e-5, atol=1e-3)  # sums in another order; |y| is up to 800
        torch.testing.assert_close(output.x_hat, model.synthesis(output.y_hat, point), rtol=1e-5, atol=0.1)  # 9,000


def test_crops_that_cannot_be_dealt_out_go_to_every_lambda():
    x = torch.rand(3, 3, 64, 64)
    shares = list(codec(lambdas=[64, 512]).training_outputs(x))
    assert [(point.lmbda, len(crops)) for point, crops, _ in shares] == [(64, 3), (512, 3)]


def test_the_second_half_is_predicted_from_the_first_and_nothing_else():
    model = excited(codec())
    features = torch.rand(1, 6, 4, 4)
    y = 9 * torch.rand(1, 6, 4, 4, requires_grad=True)
    _, means = model._in_halves(features, lambda m: y + 0 * m)
    first = first_half(y)
    (gradient,) = torch.autograd.grad((means * 1.0).sum(), y, allow_unused=True)
    assert gradient is None or not gradient.any()  # rounded to a grid
    model.train()
    _, means = model._in_halves(features, lambda m: y + 0 * m)
    (gradient,) = torch.autograd.grad(means.sum(), y)
    assert gradient[first].any()
    assert not gradient[~first].any()


def test_without_context_every_mean_follows_from_side_information(picture):
    model = excited(codec(context="none"))
    point = model.point_at(300)
    x = picture(33, 70)
    encoded = model.compress(x, point)
    assert torch.equal(model.decompress(encoded, point), model(x, point).x_hat.clamp(0, 1))


@pytest.mark.parametrize("wrong", [{"context": "serial"}, {"blocks": [1, 2]}, {"lambdas": [512, 64]}])
def test_wrong_arguments_end_in_a_sentence(wrong):
    with pytest.raises(UserError, match=f"codec.{next(iter(wrong))}"):
        codec(**wrong)
