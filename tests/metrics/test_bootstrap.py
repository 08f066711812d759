from __future__ import annotations

import bjontegaard
import numpy as np
import pytest

from nic_lightning.metrics.bd import bd_quality, bd_rate
from nic_lightning.metrics.bootstrap import Measured, bootstrap, bootstrap_mean, deltas, image_weights
from nic_lightning.metrics.interpolation import integrals


def measured(seed: int, images: int = 24, points: int = 5, gain: float = 1.0) -> Measured:
    """Images that differ in rate and quality, on curves of the usual shape."""
    generator = np.random.default_rng(seed)
    rates = np.cumsum(generator.uniform(0.05, 0.3, points)) * generator.uniform(0.5, 2.0, (images, 1))
    noise = generator.normal(0, 0.1, (images, points))
    return Measured(gain * rates, 24 + generator.uniform(0, 4, (images, 1)) + 4 * np.log2(1 + 9 * rates) + noise)


@pytest.mark.parametrize(("method", "least"), [("pchip", 2), ("akima", 3), ("cubic", 4)])
def test_integrals_are_those_of_scipy_and_numpy(method: str, least: int):
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    generator = np.random.default_rng(least)
    for points in (least, least + 1, 7):
        x = np.cumsum(generator.uniform(0.1, 2, (20, points)), axis=1)
        y = generator.normal(size=(20, points))
        low, high = x[:, 0] + 0.3 * (x[:, -1] - x[:, 0]), x[:, 0] + 0.9 * (x[:, -1] - x[:, 0])
        found = integrals(x, y, low, high, method)
        for i in range(20):
            if method == "cubic":
                curve = np.poly1d(np.polyfit(x[i], y[i], 3)).integ()
                expected = curve(high[i]) - curve(low[i])
            else:
                make = PchipInterpolator if method == "pchip" else Akima1DInterpolator
                expected = make(x[i], y[i]).integrate(low[i], high[i])
            assert found[i] == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "method"), [("rate", "pchip"), ("quality", "pchip"), ("rate", "akima"), ("rate", "cubic")]
)
def test_intervals_are_those_of_a_slow_computation(kind: str, method: str):
    """Each draw by hand: images picked one by one, means, and the bjontegaard package."""
    anchor, test = measured(1), measured(2, points=6, gain=1.2)
    found = bootstrap(anchor, test, "psnr", kind, method, draws=60, seed=3)
    generator = np.random.default_rng(3)
    function = bjontegaard.bd_rate if kind == "rate" else bjontegaard.bd_psnr
    values = []
    for picked in generator.integers(24, size=(60, 24)):
        means = [np.mean([column[i] for i in picked], axis=0) for curve in (anchor, test) for column in curve]
        values.append(function(*means, method=method, require_matching_points=False, min_overlap=0))
    assert found is not None
    assert found.failed == 0
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-7)


@pytest.mark.parametrize("kind", ["rate", "quality"])
def test_curves_drawn_on_flat_are_drawn_on_in_each_draw(kind: str):
    """Some draws of the test curve end before the anchor's, and some behind it."""
    anchor, test = measured(1), measured(2)
    test = Measured(test.rates * anchor.rates[:, -1].mean() / test.rates[:, -1].mean(), test.qualities)
    found = bootstrap(anchor, test, "psnr", kind, "pchip", draws=60, seed=3, flat=True)
    values, short = [], 0
    for picked in np.random.default_rng(3).integers(24, size=(60, 24)):
        rows = [
            [
                {"bpp": r, "psnr": q}
                for r, q in zip(c.rates[picked].mean(axis=0), c.qualities[picked].mean(axis=0), strict=True)
            ]
            for c in (anchor, test)
        ]
        short += rows[1][-1]["bpp"] < rows[0][-1]["bpp"]
        values.append((bd_rate if kind == "rate" else bd_quality)(*rows, flat=True).value)
    assert 5 < short < 55
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-6)


def test_two_points_and_lpips():
    curves = [measured(seed, points=2) for seed in (1, 2)]
    falling = [Measured(curve.rates, 1 - curve.qualities / 50) for curve in curves]
    for kind, function in (("rate", bjontegaard.bd_rate), ("quality", bjontegaard.bd_psnr)):
        means = [column.mean(axis=0) for curve in curves for column in curve]
        expected = function(*means, method="akima", require_matching_points=False, min_overlap=0)
        pair = [Measured(*(column.mean(axis=0, keepdims=True) for column in curve)) for curve in curves]
        assert deltas(pair[0], pair[1], "psnr", kind, "akima") == pytest.approx(expected)
        pair = [Measured(*(column.mean(axis=0, keepdims=True) for column in curve)) for curve in falling]
        scale = 1.0 if kind == "rate" else -1 / 50
        assert deltas(pair[0], pair[1], "lpips", kind, "akima") == pytest.approx(scale * expected)


def test_a_curve_against_itself_does_not_scatter():
    """So the same images are drawn for both."""
    curve = measured(5)
    found = bootstrap(curve, curve, "psnr")
    assert found is not None
    assert (found.low, found.high) == (0.0, 0.0)


def test_seeds():
    pair = measured(1), measured(2)
    first, again, other = (bootstrap(*pair, "psnr", seed=seed, draws=200) for seed in (0, 0, 1))
    assert first == again != other


def test_draws_without_a_delta():
    """One image alone makes the curve of means monotone, so draws without it have no delta: most of them have it."""
    good = np.tile([28.0, 30.0, 33.0], (24, 1))
    rates = np.tile([0.1, 0.2, 0.4], (24, 1))
    bent = good.copy()
    bent[:, 1] = 27.99
    bent[0, 1] = 29.0
    assert bootstrap(Measured(rates, good), Measured(rates, bent), "psnr") is None
    rare = good.copy()
    rare[0, 1] = 17.0  # a draw with this image four times or more is not monotone
    found = bootstrap(Measured(rates, good), Measured(rates, rare + 1), "psnr", draws=2000)
    assert found is not None
    counts = np.round(image_weights(24, 2000, 0)[:, 0] * 24)
    middle = (30.0 * (24 - counts) + 17.0 * counts) / 24
    assert found.failed == np.count_nonzero(middle <= 28.0)
    assert 0 < found.failed < 100
    apart = Measured(rates, good + 20)
    assert bootstrap(Measured(rates, good), apart, "psnr") is None


def test_the_mean_of_values():
    values = np.random.default_rng(0).normal(5.0, 2.0, 24)
    found = bootstrap_mean(values, draws=4000)
    error = 1.96 * values.std() / np.sqrt(24)
    assert found.low == pytest.approx(values.mean() - error, abs=0.15)
    assert found.high == pytest.approx(values.mean() + error, abs=0.15)


def test_draws_are_of_all_images():
    weights = image_weights(7, 500, 0)
    assert weights.sum(axis=1) == pytest.approx(np.ones(500))
    assert weights.mean(axis=0) == pytest.approx(np.full(7, 1 / 7), abs=0.02)
