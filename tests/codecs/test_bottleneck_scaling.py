from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.bottleneck_scaling import BottleneckScaling
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.errors import UserError


def test_parameters_of_the_thesis():
    codec = BottleneckScaling(192)
    assert sum(p.numel() for n, p in codec.named_parameters() if not n.startswith("entropy_")) == 4_004_163


def test_scales_start_at_the_high_rate_optimum_and_interpolate():
    codec = BottleneckScaling(4, lambdas=[64, 256, 1024])
    for point in codec.operating_points:
        expected = torch.full((1, 4, 1, 1), (point.lmbda / 1024) ** 0.5)
        torch.testing.assert_close(codec.scale(point), expected)
    # Halfway between two lambdas on the logarithmic ladder.
    torch.testing.assert_close(codec.scale(codec.point_at(128.0)), torch.full((1, 4, 1, 1), 0.125**0.5))


def test_scaling_is_undone_after_rounding(picture):
    torch.manual_seed(0)
    codec = BottleneckScaling(4, lambdas=[64, 1024])
    x = picture(32, 48)
    for point in (codec.operating_points[0], codec.point_at(300.0)):
        y = codec.analysis(x, point)
        torch.testing.assert_close(codec.synthesis(y, point), codec.g_s(codec.g_a(x)), rtol=1e-4, atol=1e-4)


def test_adopts_an_autoencoder_and_gives_its_entropy_model_to_every_lambda(picture):
    torch.manual_seed(0)
    base = CompressiveAutoencoder(6, lmbda=1024)
    base.update_tables()  # a checkpoint holds its tables, too
    codec = BottleneckScaling(6, lambdas=[64, 1024])
    codec.adopt(base.state_dict())
    x, point = picture(32, 32), codec.operating_points[-1]
    base.eval(), codec.eval()
    expected, output = base(x, base.operating_points[0]), codec(x, point)
    assert torch.equal(output.y, expected.y)  # the scale of the highest lambda is 1
    assert torch.equal(output.x_hat, expected.x_hat)
    for model in codec.entropy_y:
        assert torch.equal(model.quantiles, base.entropy_y.quantiles)
        assert model._quantized_cdf.numel() == 0  # made anew after training


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"g_a.convs.0.weight": torch.zeros(1)},
        CompressiveAutoencoder(5).state_dict(),
        {f"g_a.{k}": v for k, v in CompressiveAutoencoder(6).state_dict().items()},
    ],
)
def test_adopts_nothing_but_an_autoencoder_of_its_width(state):
    codec = BottleneckScaling(6, lambdas=[64, 1024])
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    with pytest.raises(UserError, match="init_from"):
        codec.adopt(state)
    assert all(torch.equal(v, before[k]) for k, v in codec.state_dict().items())
