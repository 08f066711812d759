"""How far Bjontegaard deltas would scatter with other images: percentile intervals. No torch needed.

Efron 1979, "Bootstrap methods: another look at the jackknife". Images are drawn with replacement, the same ones for
both curves, and the curves of means are made anew from each draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nic_lightning.media.base import Medium, find_medium
from nic_lightning.metrics.bd import RISE
from nic_lightning.metrics.interpolation import integrals

Array = NDArray[np.float64]
DRAWS = 1000
LEVEL = 0.95
MIN_IMAGES = 5
"""Fewer images say nothing about others."""
MAX_FAILED = 0.05
"""If more of the draws than that have no delta, there is no interval: what is left would be a choice of images."""


class Measured(NamedTuple):
    """Every image at every point of a curve, points from the lowest mean rate to the highest."""

    rates: Array
    """(images, points), bits per pixel."""
    qualities: Array
    """(images, points), in the metric's unit."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval."""

    low: float
    high: float
    level: float
    draws: int
    """How many draws there were."""
    failed: int = 0
    """Draws whose curves were not monotone or did not overlap; they are left out."""


def bootstrap(
    anchor: Measured,
    test: Measured,
    metric: str,
    kind: str = "rate",
    method: str = "pchip",
    *,
    draws: int = DRAWS,
    seed: int = 0,
    medium: Medium | None = None,
    flat: bool = False,
) -> Interval | None:
    """Interval of the delta of two curves of means; None when too many draws have none.

    Args:
        anchor: measurements of the anchor.
        test: measurements of the same images in the same order.
        metric: key of the quality, which decides whether less is better.
        kind: "rate" or "quality", as of `BdResult`.
        method: interpolation, one of METHODS.
        draws: how often images are drawn.
        seed: of the draws; the same seed and number of images draw the same images.
        medium: what the curves are of; None: images.
        flat: draw the test curve on, as `bd_rate` does.
    """
    weights = image_weights(len(anchor.rates), draws, seed)
    first, second = _means(anchor, weights), _means(test, weights)
    options = (metric, kind, method, medium)
    if not flat:
        return _interval(deltas(first, second, *options), draws)
    short = second.rates[:, -1] < first.rates[:, -1]
    sign = (medium or find_medium(None)).sign(metric)
    longer = Measured(
        np.column_stack([second.rates, first.rates[:, -1]]),
        np.column_stack([second.qualities, second.qualities[:, -1] + sign * RISE]),
    )
    parts = [(_rows(first, rows), _rows(drawn, rows)) for drawn, rows in ((longer, short), (second, ~short))]
    return _interval(np.concatenate([deltas(*pair, *options) for pair in parts if len(pair[0].rates)]), draws)


def bootstrap_mean(values: Array, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Interval of the mean of one value for each image."""
    made = _interval(image_weights(len(values), draws, seed) @ values, draws)
    assert made is not None  # values are finite, so no draw fails
    return made


@lru_cache(maxsize=8)
def image_weights(images: int, draws: int, seed: int) -> Array:
    """(draws, images): the part of a draw that each image makes up; rows sum to one."""
    picked = np.random.default_rng(seed).integers(images, size=(draws, images))
    counts = np.zeros((draws, images))
    np.add.at(counts, (np.arange(draws)[:, None], picked), 1.0)
    counts /= images
    counts.setflags(write=False)  # all callers get the same array
    return counts


def deltas(
    anchor: Measured, test: Measured, metric: str, kind: str, method: str, medium: Medium | None = None
) -> Array:
    """Deltas of many pairs of curves at once, as `bd_rate` and `bd_quality` give them; NaN where there is none.

    Both arguments are (curves, points).
    """
    sign = (medium or find_medium(None)).sign(metric)
    x, y = [], []
    for curve in (anchor, test):
        with np.errstate(divide="ignore", invalid="ignore"):
            rate, quality = np.log10(curve.rates), sign * curve.qualities
        x.append(quality if kind == "rate" else rate)
        y.append(rate if kind == "rate" else quality)
    low = np.maximum(x[0][:, 0], x[1][:, 0])
    high = np.minimum(x[0][:, -1], x[1][:, -1])
    sound = high > low
    for values in (*x, *y):
        sound &= np.isfinite(values).all(axis=1) & (np.diff(values, axis=1) > 0).all(axis=1)
    low, high = low[sound], high[sound]
    areas = [integrals(a[sound], b[sound], low, high, method) for a, b in zip(x, y, strict=True)]
    mean = (areas[1] - areas[0]) / (high - low)
    out = np.full(len(sound), np.nan)
    out[sound] = 100 * (10**mean - 1) if kind == "rate" else sign * mean
    return out


def _rows(curve: Measured, chosen: NDArray[np.bool_]) -> Measured:
    return Measured(curve.rates[chosen], curve.qualities[chosen])


def _means(curve: Measured, weights: Array) -> Measured:
    return Measured(weights @ curve.rates, weights @ curve.qualities)


def _interval(values: Array, draws: int) -> Interval | None:
    kept = values[np.isfinite(values)]
    failed = len(values) - len(kept)
    if failed > MAX_FAILED * len(values):
        return None
    low, high = np.percentile(kept, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(low), float(high), LEVEL, draws, failed)
