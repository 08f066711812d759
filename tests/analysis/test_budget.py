from __future__ import annotations

import pytest
import torch

from nic_lightning.analysis import budget
from nic_lightning.analysis.budget import Budget, parse_macs
from nic_lightning.analysis.efficiency import measure
from nic_lightning.errors import UserError

X = torch.zeros(1, 3, 64, 48)


@pytest.fixture(scope="module")
def codec(make_codec):
    return make_codec("slimmable", widths=[4, 8, 16])


def labels(found) -> list[str]:
    return [point.label for point in found[0]]


def test_operations_of_both_transforms_count(codec) -> None:
    points = measure(codec, (64, 48)).points  # a size that needs no padding
    costs = [p.analysis.macs_per_pixel + p.synthesis.macs_per_pixel for p in points]
    w = 8
    assert costs[1] == pytest.approx(2 * (15.1875 * w + 0.48828125 * w**2 + 0.08203125 * w**2))
    assert labels(Budget(codec, costs[1]).points(X)) == ["w4", "w8"]
    assert labels(Budget(codec, costs[1] - 0.01).points(X)) == ["w4"]
    assert labels(Budget(codec, 1e9).points(X)) == ["w4", "w8", "w16"]
    points, message = Budget(codec, costs[0] - 0.01).points(X)
    assert [p.label for p in points] == ["w4"]
    assert message == (
        f"No operating point takes {costs[0]:,.0f} MAC/pixel or less on this image; the cheapest takes {costs[0]:,.0f}."
    )


def test_fewer_layers_cost_a_decoder_less(make_codec) -> None:
    scalable = make_codec("scalable", widths=[4, 8, 16])
    costs = [p.analysis.macs_per_pixel + p.synthesis.macs_per_pixel for p in measure(scalable, (64, 48)).points]
    assert labels(Budget(scalable, costs[1]).points(X)) == ["layers1", "layers2"]
    assert costs[0] > costs[2] / 2  # the encoder is the same


def test_padding_counts(codec) -> None:
    exact = Budget(codec, 400.0)
    assert labels(exact.points(X)) == ["w4", "w8"]
    assert labels(exact.points(torch.zeros(1, 3, 33, 48))) == ["w4"]  # coded as 48x48


def test_latency_goes_up_the_points_until_one_is_too_slow(codec, monkeypatch) -> None:
    took, tried = {"w4": 5.0, "w8": 7.0, "w16": 20.0}, []

    def fake(codec, x, point) -> float:
        tried.append(point.label)
        return took[point.label]

    monkeypatch.setattr(budget, "transforms_ms", fake)
    found = Budget(codec, max_latency_ms=7.0)
    assert labels(found.points(X)) == ["w4", "w8"]
    assert found.points(X) == found.points(torch.ones(1, 3, 64, 48))
    assert tried == ["w4", "w8", "w16"]  # once a size
    tried.clear()
    points, message = Budget(codec, max_latency_ms=4.9).points(X)
    assert [p.label for p in points] == tried == ["w4"]
    assert message == (
        "The cheapest operating point takes 5.0 ms for this image on this machine, more than 4.9 ms; "
        "the others were not tried."
    )
    tried.clear()
    assert labels(Budget(codec, 150.0, 1000.0).points(X)) == tried == ["w4"]  # both limits hold


def test_a_real_latency_is_measured(codec) -> None:
    assert budget.transforms_ms(codec, X, codec.operating_points[0]) > 0


def test_codecs_whose_points_cost_the_same_are_refused(make_codec, codec) -> None:
    for same in (make_codec("modulated", lambdas=[64, 512]), make_codec("cae"), codec.narrowed(4)):
        with pytest.raises(UserError, match=r"costs the same, [\d,]+ MAC/pixel: .* widths of a slimmable codec\.$"):
            Budget(same, 1e4)
    for wrong in ({"max_macs": 0.0}, {"max_latency_ms": -1.0}, {"max_latency_ms": float("nan")}):
        with pytest.raises(UserError, match="is not a positive number"):
            Budget(codec, **wrong)


def test_numbers_of_operations() -> None:
    assert [parse_macs(t) for t in ("4096", "10k", "1.5M", "0.5k")] == [4096, 10_000, 1.5e6, 500]
    for wrong in ("", "k", "10K", "1e5", "-3", "10 k", "1.", "9" * 13, "∞"):
        with pytest.raises(UserError, match=r"write 4096, 10k or 1\.5M"):
            parse_macs(wrong)
