from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import torch

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.codecs.base import Encoded, OperatingPoint
from nic_lightning.codecs.fitting import largest_within
from nic_lightning.codecs.search import MAX_FILES, search_point
from nic_lightning.errors import UserError
from nic_lightning.media.base import find_medium

X = torch.rand(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
PIXELS = 200 * 200
PSNR_TOLERANCE = find_medium("image").quality("psnr").tolerance


class Known:
    """Files of 0.1 + 0.2 log2(lambda / 64) bpp; errors of lambda^-1/2, so a PSNR of 10 log10(lambda)."""

    name = "known"

    def __init__(self, wobble: float = 0.0):
        self.wobble, self.files = wobble, 0

    @property
    def operating_points(self) -> list[OperatingPoint]:
        return [self._at(lmbda, i) for i, lmbda in enumerate((64.0, 256.0, 1024.0, 4096.0))]

    @staticmethod
    def _at(lmbda: float, index: int = -1) -> OperatingPoint:
        return OperatingPoint(index, f"{lmbda:g}", lmbda=lmbda)

    def rate(self, lmbda: float) -> float:
        steps = math.log2(lmbda / 64)
        return 0.1 + 0.2 * steps + self.wobble * math.sin(40 * steps)

    def compress(self, x, point) -> Encoded:
        assert point.lmbda is not None
        self.files += 1
        size = round(self.rate(point.lmbda) * PIXELS / 8)
        return Encoded(((bytes(size),),), (x.shape[-2], x.shape[-1]))

    def decompress(self, encoded, point):
        sign = torch.where(X > 0.5, -1.0, 1.0)
        return X + sign * point.lmbda**-0.5

    def pack(self, encoded, point) -> bytes:
        return encoded.strings[0][0]

    def unpack(self, data):
        raise AssertionError


class Continuous(Known):
    lambda_range = (64.0, 4096.0)

    def point_at(self, lmbda: float) -> OperatingPoint:
        assert 64 * (1 - 1e-9) <= lmbda <= 4096 * (1 + 1e-9)
        return self._at(lmbda)


@pytest.mark.parametrize("target", [0.1, 0.15, 0.31, 0.777, 1.29])
def test_any_rate_in_reach_is_met(target: float) -> None:
    result = search_point(Continuous(), X, bpp=target)
    assert result.message is None
    assert result.bpp == 8 * len(result.data) / PIXELS
    assert abs(result.bpp - target) <= 0.02 * target


def test_the_point_is_the_one_of_the_rate() -> None:
    result = search_point(Continuous(), X, bpp=0.7, tolerance=0.001)
    assert result.point.lmbda == pytest.approx(64 * 2**3, rel=0.01)


@pytest.mark.parametrize("target", [20.0, 25.3, 33.3])
def test_any_psnr_in_reach_is_met(target: float) -> None:
    result = search_point(Continuous(), X, psnr=target)
    assert result.message is None
    assert abs(result.psnr - target) <= PSNR_TOLERANCE


@pytest.mark.parametrize(("target", "reached"), [(0.01, 0.1), (3.0, 1.3)])
def test_out_of_reach_is_said(target: float, reached: float) -> None:
    result = search_point(Continuous(), X, bpp=target)
    assert result.bpp == pytest.approx(reached, abs=1e-3)
    assert result.message is not None
    assert "The 4 points that were tried reach 0.100 to 1.300 bpp" in result.message


def test_a_rate_that_is_not_monotone_ends_and_keeps_the_best() -> None:
    codec = Continuous(wobble=0.05)
    result = search_point(codec, X, bpp=0.7, tolerance=0.001)
    assert codec.files <= 20
    assert abs(result.bpp - 0.7) < 0.06


class Bent(Continuous):
    """PSNR 16.30 at both ends, 16.09 at the trained point 256, and 16.32 at 1024."""

    DB: ClassVar = {64.0: 16.304, 256.0: 16.09, 1024.0: 16.32, 4096.0: 16.316}

    def decompress(self, encoded, point):
        known = sorted(self.DB)
        value = np.interp(math.log(point.lmbda), np.log(known), [self.DB[key] for key in known])
        return X + torch.where(X > 0.5, -1.0, 1.0) * 10 ** (-value / 20)


@pytest.mark.parametrize(("target", "lambdas"), [(16.09, (250, 262)), (16.2, (60, 1030)), (16.01, (250, 262))])
def test_trained_points_are_tried_where_quality_does_not_rise_with_lambda(target: float, lambdas) -> None:
    result = search_point(Bent(), X, psnr=target)
    assert lambdas[0] < result.point.lmbda < lambdas[1]
    assert (result.message is None) == (target > 16.05)
    assert abs(result.psnr - max(target, 16.09)) <= PSNR_TOLERANCE
    if result.message:
        assert "The 4 points that were tried reach 16.090 to 16.320 dB on this image, not 16.01 dB" in result.message


def test_a_rate_that_falls_between_neighbours_is_met() -> None:
    """Only there: from 64 to 256 the rate falls through the target."""
    codec = Continuous()
    rates = {64.0: 0.8, 256.0: 0.2, 1024.0: 0.1, 4096.0: 0.15}
    known = sorted(rates)
    codec.rate = lambda lmbda: float(np.interp(math.log(lmbda), np.log(known), [rates[key] for key in known]))
    result = search_point(codec, X, bpp=0.5)
    assert result.message is None
    assert result.bpp == pytest.approx(0.5, rel=0.02)
    assert 64 < result.point.lmbda < 256


def test_a_tolerance_of_nothing_ends() -> None:
    codec = Continuous()
    result = search_point(codec, X, bpp=0.70003, tolerance=0.0)
    assert codec.files == 20
    assert result.bpp == pytest.approx(0.7, abs=1e-3)
    assert result.message is not None
    assert "nearest gives 0.700" in result.message


def test_discrete_points_give_the_nearest() -> None:
    result = search_point(Known(), X, bpp=0.55)
    assert result.point.label == "256"
    assert result.message is not None
    assert "None of the 4 points that were tried gives 0.55 bpp" in result.message
    exact = search_point(Known(), X, bpp=0.9)
    assert (exact.point.label, exact.message) == ("1024", None)
    assert exact.psnr == pytest.approx(10 * math.log10(1024), abs=0.3)


def test_all_candidates_are_tried() -> None:
    codec = Known()
    codec.candidate_points = [*codec.operating_points, codec._at(400.0, 4)]
    assert search_point(codec, X, psnr=26.0).point.label == "400"
    assert codec.files == 5


def test_only_the_points_that_are_given_are_tried() -> None:
    for codec in (Known(), Continuous()):
        points = codec.operating_points[:2]
        result = search_point(codec, X, bpp=0.9, points=points)
        assert (result.point, codec.files) == (points[1], 2)
        assert result.message is not None
        assert "The 2 points that were tried reach 0.100 to 0.500 bpp" in result.message
        message = search_point(codec, X, bpp=0.9, points=points[:1]).message
        assert message == "The one point that was tried reaches 0.100 bpp on this image, not 0.9 bpp."


@pytest.mark.parametrize(
    "targets",
    [{}, {"bpp": 1.0, "psnr": 30.0}, {"bpp": 0.0}, {"bpp": -1.0}, {"bpp": math.nan}, {"psnr": math.inf}],
)
def test_targets_that_make_no_sense(targets: dict[str, float]) -> None:
    with pytest.raises(UserError):
        search_point(Known(), X, **targets)


def test_a_rate_outside_a_classic_ladder_is_an_error_with_the_range() -> None:
    codec = Jpeg([10, 50, 90])
    reach = [8 * len(codec.pack(codec.compress(X, point), point)) / PIXELS for point in codec.operating_points]
    assert search_point(codec, X, bpp=reach[1]).point.quality == 50
    for target in (reach[0] / 2, reach[-1] * 2):
        with pytest.raises(UserError, match=f"reach {reach[0]:.3f} to {reach[-1]:.3f} bpp"):
            search_point(codec, X, bpp=target)


@pytest.mark.parametrize("allowed", [501, 1234, 2500, 4777, 6499])
def test_of_the_files_that_fit_it_is_the_largest(allowed: int) -> None:
    codec = Continuous()  # files of 500 to 6,500 bytes
    choice = largest_within(codec, X, allowed)
    assert 0.99 * allowed <= len(choice.data) <= allowed
    assert len(choice.data) == round(codec.rate(choice.point.lmbda or 0) * PIXELS / 8)
    assert codec.files <= MAX_FILES


def test_ends_of_what_fits() -> None:
    for codec in (Known(), Continuous()):
        assert largest_within(codec, X, 10**6).point == codec.operating_points[-1]
        assert codec.files == 1
        assert largest_within(codec, X, 500).point.lmbda == pytest.approx(64, rel=1e-4)
        with pytest.raises(UserError, match="smallest of 4 points has 500 bytes, 499 are allowed"):
            largest_within(codec, X, 499)
        with pytest.raises(UserError, match="give a number above 0"):
            largest_within(codec, X, 0)
    assert [largest_within(Known(), X, n).point.index for n in (2499, 2500, 4499, 6499)] == [0, 1, 1, 2]


def test_where_the_lowest_point_does_not_fit_another_one_may() -> None:
    class Falling(Known):
        def rate(self, lmbda: float) -> float:
            return {64.0: 1.0, 256.0: 0.5, 1024.0: 0.4, 4096.0: 0.9}[lmbda]

    assert largest_within(Falling(), X, 2600).point.lmbda == 1024
