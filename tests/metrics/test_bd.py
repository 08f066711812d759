from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nic_lightning.metrics.bd import BdError, bd_rate


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


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_missing_values_are_named(value):
    with pytest.raises(BdError, match="'p1' of the anchor curve"):
        bd_rate(curve((0.1, 28.0), (0.2, value)), BASE)
    with pytest.raises(BdError, match=r"at 0\.0 bpp"):
        bd_rate([{"bpp": 0.0, "psnr": 3.0}, {"bpp": 0.1, "psnr": 4.0}], BASE)


def test_published_curves_on_kodak(nic_data):
    folder = Path(nic_data).parent / "reference" / "compressai" / "kodak"
    if not folder.is_dir():
        pytest.skip("needs the published curves in reference/compressai beside the data")

    def published(name: str) -> list[dict[str, Any]]:
        results = json.loads((folder / f"{name}.json").read_text())["results"]
        psnr = results.get("psnr-rgb") or results["psnr"]
        return [{"bpp": rate, "psnr": quality} for rate, quality in zip(results["bpp"], psnr, strict=True)]

    result = bd_rate(published("bpg_444_x265_ycbcr"), published("compressai-bmshj2018-hyperprior_mse_cuda"))
    assert result.value == pytest.approx(3.9, abs=0.2)


def test_imports_without_torch():
    modules = "nic_lightning.metrics.bd, nic_lightning.metrics.names"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
