"""Integrals of many interpolated curves at once: what a thousand bootstrap draws need. No torch needed.

The same curves as SciPy's PchipInterpolator and Akima1DInterpolator and NumPy's polyfit of degree three, which the
`bjontegaard` package uses for one curve at a time; there each curve takes a Python loop of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def integrals(x: Array, y: Array, low: Array, high: Array, method: str) -> Array:
    """Integral of each curve from `low` to `high`, which lie within its x.

    Args:
        x: (curves, points), strictly rising along a row.
        y: (curves, points).
        low: (curves,).
        high: (curves,).
        method: "pchip" (Fritsch and Butland 1984), "akima" (Akima 1970), or "cubic", one polynomial of degree three.
    """
    if method == "cubic":
        return _polynomial_integrals(x, y, low, high)
    width, steps = np.diff(x, axis=1), np.diff(y, axis=1)
    if x.shape[1] == 2:
        slopes = np.repeat(steps / width, 2, axis=1)
    else:
        slopes = _pchip_slopes(width, steps / width) if method == "pchip" else _akima_slopes(steps / width)
    start = np.clip(x[:, :-1], low[:, None], high[:, None])
    end = np.clip(x[:, 1:], low[:, None], high[:, None])

    def value(at: Array) -> Array:
        """Hermite's cubic on each piece."""
        t = (at - x[:, :-1]) / width
        left, right = slopes[:, :-1] * width, slopes[:, 1:] * width
        return y[:, :-1] + t * (left + t * (3 * steps - 2 * left - right + t * (left + right - 2 * steps)))

    # Simpson's rule is exact for cubics.
    return ((end - start) / 6 * (value(start) + 4 * value((start + end) / 2) + value(end))).sum(axis=1)


def _pchip_slopes(width: Array, secants: Array) -> Array:
    """Weighted harmonic means of neighbouring secants; zero where these change sign."""
    before, after = secants[:, :-1], secants[:, 1:]
    rises = before * after > 0
    first, second = 2 * width[:, 1:] + width[:, :-1], width[:, 1:] + 2 * width[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = np.where(rises, (first + second) / (first / before + second / after), 0.0)
    ends = [_pchip_end(width[:, i], width[:, j], secants[:, i], secants[:, j]) for i, j in ((0, 1), (-1, -2))]
    return np.concatenate([ends[0][:, None], inner, ends[1][:, None]], axis=1)


def _pchip_end(width: Array, next_width: Array, secant: Array, next_secant: Array) -> Array:
    """One-sided estimate from three points, held back so that the curve keeps the shape of its points."""
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    too_steep = (np.sign(secant) != np.sign(next_secant)) & (np.abs(slope) > 3 * np.abs(secant))
    return np.where(np.sign(slope) != np.sign(secant), 0.0, np.where(too_steep, 3 * secant, slope))


def _akima_slopes(secants: Array) -> Array:
    """Means of two secants, weighted by how much the secants beyond the other one bend."""
    first, last = secants[:, :1], secants[:, -1:]
    before, after = 2 * first - secants[:, 1:2], 2 * last - secants[:, -2:-1]
    padded = np.concatenate([2 * before - first, before, secants, after, 2 * after - last], axis=1)
    bends = np.abs(np.diff(padded, axis=1))
    left, right = bends[:, 2:], bends[:, :-2]
    both = left + right
    straight = both <= 1e-9 * both.max(axis=1, keepdims=True)
    weighted = (left * padded[:, 1:-2] + right * padded[:, 2:-1]) / np.where(straight, 1.0, both)
    return np.where(straight, 0.5 * (padded[:, 3:] + padded[:, :-3]), weighted)


def _polynomial_integrals(x: Array, y: Array, low: Array, high: Array) -> Array:
    """Least squares over at least four points, in x scaled to [-1, 1] for the sake of precision."""
    middle, half = (x[:, -1] + x[:, 0]) / 2, (x[:, -1] - x[:, 0]) / 2
    powers = np.arange(4)
    q, r = np.linalg.qr(((x - middle[:, None]) / half[:, None])[:, :, None] ** powers)
    coefficients = np.linalg.solve(r, np.swapaxes(q, 1, 2) @ y[:, :, None])[:, :, 0] / (powers + 1)
    ends = [((bound - middle) / half)[:, None] ** (powers + 1) for bound in (low, high)]
    return half * (coefficients * (ends[1] - ends[0])).sum(axis=1)
