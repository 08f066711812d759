from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from nic_lightning.metrics.bd import METHODS, BdError, bd_quality, bd_rate


def curve(*pairs: tuple[float, float], metric: str = "psnr") -> list[dict[str, Any]]:
    return [{"bpp": rate, metric: quality, "label": f"p{i}"} for i, (rate, quality) in enumerate(pairs)]


BASE = curve((0.1, 28.0), (0.2, 30.0), (0.4, 32.5), (0.8, 35.0))


def test_a_curve_against_itself_is_zero():
    result = bd_rate(BASE, BASE)
    assert result.value == pytest.approx(0.0, abs=1e-12)
    assert result.overlap == (28.0, 35.0)
    assert result.overlap_fraction == 1.0


def test_twice_the_rate_is_a_hundred_per_cent():
    double = [{**point, "bpp": 2 * point["bpp"]} for point in BASE]
    assert bd_rate(BASE, double).value == pytest.approx(100.0)
    assert bd_rate(double, list(reversed(BASE))).value == pytest.approx(-50.0)


def test_overlap_is_reported():
    result = bd_rate(BASE, curve((0.3, 31.0), (0.5, 33.0), (0.9, 35.0), (1.5, 38.0)))
    assert result.overlap == (31.0, 35.0)
    assert result.overlap_fraction == pytest.approx(0.4)


def test_lower_is_better_for_lpips():
    anchor = curve((0.1, 0.5), (0.2, 0.4), (0.4, 0.3), metric="lpips")
    half = [{**point, "bpp": point["bpp"] / 2} for point in anchor]
    result = bd_rate(anchor, half, "lpips")
    assert result.value == pytest.approx(-50.0)
    assert result.overlap == (0.3, 0.5)


def test_two_points_are_enough_one_is_not():
    two = curve((0.1, 28.0), (0.8, 35.0))
    assert bd_rate(two, two).value == pytest.approx(0.0)
    with pytest.raises(BdError, match=r"test curve has 1 point"):
        bd_rate(two, two[:1])


def test_curves_that_do_not_overlap_have_no_number():
    with pytest.raises(BdError, match=r"do not overlap.*28\.000 to 35\.000.*36\.000 to 39\.000"):
        bd_rate(BASE, curve((0.1, 36.0), (0.2, 39.0)))
    with pytest.raises(BdError, match="do not overlap"):
        bd_rate(BASE, curve((0.1, 35.0), (0.2, 39.0)))


@pytest.mark.parametrize(
    "points",
    [[(0.1, 28.0), (0.2, 31.0), (0.4, 30.0)], [(0.1, 28.0), (0.1, 29.0)], [(0.1, 28.0), (0.2, 28.0)]],
)
def test_a_curve_that_is_not_monotone_names_its_points(points):
    with pytest.raises(BdError, match=r"not monotone: from 'p\d' .* to 'p\d'"):
        bd_rate(BASE, curve(*points))
    unnamed = [{key: value for key, value in point.items() if key != "label"} for point in curve(*points)]
    with pytest.raises(BdError, match=r"not monotone: from \(0\.\d{4} bpp, psnr [\d.]+\) to \(0\."):
        bd_rate(BASE, unnamed)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_missing_values_are_named(value):
    with pytest.raises(BdError, match="'p1' of the anchor curve"):
        bd_rate(curve((0.1, 28.0), (0.2, value)), BASE)
    with pytest.raises(BdError, match=r"at 0\.0 bpp"):
        bd_rate([{"bpp": 0.0, "psnr": 3.0}, {"bpp": 0.1, "psnr": 4.0}], BASE)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("delta", [bd_rate, bd_quality])
def test_no_delta_against_itself(delta, method):
    assert delta(BASE, BASE, method=method).value == 0.0


def test_gains_in_quality():
    better = [{**point, "psnr": point["psnr"] + 0.7} for point in BASE]
    result = bd_quality(BASE, better)
    assert result.value == pytest.approx(0.7)
    assert result.overlap == pytest.approx((0.1, 0.8))
    assert (result.kind, result.metric, result.overlap_fraction) == ("quality", "psnr", 1.0)
    half = bd_quality(BASE, [{**point, "bpp": 2 * point["bpp"]} for point in BASE])
    assert half.overlap == pytest.approx((0.2, 0.8))
    assert half.overlap_fraction == pytest.approx(2 / 4)  # two octaves of four
    assert half.value < 0


def test_less_lpips_is_a_negative_gain():
    anchor = curve((0.1, 0.5), (0.2, 0.4), (0.4, 0.3), metric="lpips")
    better = [{**point, "lpips": point["lpips"] - 0.05} for point in anchor]
    assert bd_quality(anchor, better, "lpips").value == pytest.approx(-0.05)


def test_gains_in_accuracy():
    anchor = curve((0.1, 0.5), (0.2, 0.7), (0.4, 0.8), metric="accuracy")
    better = [{**point, "accuracy": point["accuracy"] + 0.05} for point in anchor]
    assert bd_quality(anchor, better, "accuracy").value == pytest.approx(0.05)


def test_rates_that_do_not_overlap_have_no_gain():
    with pytest.raises(BdError, match=r"do not overlap in bpp.*0\.100 to 0\.800.*0\.900 to 1\.000"):
        bd_quality(BASE, curve((0.9, 30.0), (1.0, 31.0)))


def test_methods():
    test = curve((0.12, 28.5), (0.25, 31.0), (0.5, 33.0), (0.9, 35.5))
    values = {method: bd_rate(BASE, test, method=method) for method in METHODS}
    assert {method: result.method for method, result in values.items()} == {method: method for method in METHODS}
    assert len({result.value for result in values.values()}) == 3
    with pytest.raises(BdError, match="'spline'; choose one of pchip, akima, cubic"):
        bd_rate(BASE, test, method="spline")
    with pytest.raises(BdError, match=r"test curve has 3 point.*at least four with cubic"):
        bd_rate(BASE, test[:3], method="cubic")


def test_imports_without_torch():
    modules = "nic_lightning.metrics.bootstrap, nic_lightning.metrics.names"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
