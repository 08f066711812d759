from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from nic_lightning.analysis.efficiency import measure, table
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv, deconv, use_rdft
from nic_lightning.layers.gdn import GDN


class StandIn(LearnedCodec):
    """The compressive autoencoder's layers and nothing else."""

    def __init__(self, width: int):
        super().__init__()
        self.g_a = nn.Sequential(
            conv(3, width, 9, 4), GDN(width), conv(width, width, 5, 2), GDN(width),
            conv(width, width, 5, 2, bias=False), GDN(width),
        )  # fmt: skip
        self.g_s = nn.Sequential(
            GDN(width, inverse=True), deconv(width, width, 5, 2), GDN(width, inverse=True),
            deconv(width, width, 5, 2), GDN(width, inverse=True), deconv(width, 3, 9, 4),
        )  # fmt: skip
        self.entropy_y = nn.Linear(7, 1, bias=False)

    @property
    def operating_points(self):
        return [OperatingPoint(0, "low"), OperatingPoint(1, "high")]

    def analysis(self, x, point):
        return self.g_a(x)

    def synthesis(self, y_hat, point):
        return self.g_s(y_hat)


@pytest.mark.parametrize(
    ("width", "gmac", "features", "synthesis_features", "parameters_mib"),
    [(192, 18.827, 47.25, 50.62, 15.27), (48, 1.607, 11.81, 16.03, 1.02)],
)
def test_published_costs(width, gmac, features, synthesis_features, parameters_mib) -> None:
    cost = measure(StandIn(width))
    assert cost.parameters == 106 * width**2 + 496 * width + 3
    assert cost.entropy_parameters == 7
    assert cost.parameters_mib == pytest.approx(parameters_mib, abs=0.005)
    assert [p.label for p in cost.points] == ["low", "high"]
    for point in cost.points:
        assert point.analysis.macs == point.synthesis.macs
        assert (point.analysis.macs + point.synthesis.macs) / 1e9 == pytest.approx(gmac, abs=5e-4)
        assert point.analysis.macs_per_pixel == point.analysis.macs / (512 * 768)
        assert point.analysis.features_mib == pytest.approx(features, abs=0.005)
        assert point.synthesis.features_mib == pytest.approx(synthesis_features, abs=0.006)


def test_computed_kernels_cost_nothing_per_image() -> None:
    plain, computed = StandIn(8), StandIn(8)
    use_rdft(computed)
    assert measure(computed, (64, 64)).points == measure(plain, (64, 64)).points


def test_the_codec_is_left_as_it_was() -> None:
    codec = StandIn(8).train()
    measure(codec, (64, 64))
    assert codec.training
    assert all(p.device == torch.device("cpu") for p in codec.parameters())


def test_odd_sizes_are_padded_and_counted_per_true_pixel() -> None:
    codec = StandIn(8)
    odd, padded = measure(codec, (33, 17)).points[0].analysis, measure(codec, (48, 32)).points[0].analysis
    assert odd.macs == padded.macs
    assert odd.macs_per_pixel == odd.macs / (33 * 17)


def test_a_size_must_be_positive() -> None:
    with pytest.raises(UserError, match="0x16"):
        measure(StandIn(8), (0, 16))


def test_table_and_json() -> None:
    cost = measure(StandIn(192))
    text = table(cost)
    assert "4,002,819" in text
    assert "47.25 MiB" in text
    assert json.loads(json.dumps(cost.as_dict()))["points"][1]["label"] == "high"
