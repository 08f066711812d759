"""Lambdas for a slimmable codec from independent models (thesis section 3.4.2, figure 3.4): where a width saturates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from nic_lightning.errors import UserError, counted

TOLERANCE = 0.1
"""How far, in dB, a narrower width may lie below the wider one before it has left its curve."""


@dataclass(frozen=True)
class WidthLambda:
    """The lambda of a width, where it was found, and a sentence when it could only be bounded."""

    width: int
    lmbda: float
    bpp: float
    note: str | None = None


@dataclass(frozen=True)
class _WidthCurve:
    """Rates (rising), mean squared errors of [0, 1] images (falling) and lambdas of one width's models."""

    width: int
    rates: np.ndarray
    errors: np.ndarray
    lambdas: np.ndarray

    def psnr(self, rates: np.ndarray) -> np.ndarray:
        return PchipInterpolator(np.log(self.rates), -10 * np.log10(self.errors))(np.log(rates))

    def slope(self, rate: float) -> float:
        """The curve's slope -dR/dMSE at a rate.

        Models that minimise lambda MSE + R lie where it is their lambda, so it is interpolated between those: numerical
        slopes of curves of a few points are much coarser.
        """
        return float(np.exp(PchipInterpolator(np.log(self.rates), np.log(self.lambdas))(np.log(rate))))


def lambdas_from_rows(rows: Sequence[Mapping[str, Any]], tolerance: float = TOLERANCE) -> list[WidthLambda]:
    """One lambda a width, narrowest first, from rows of results tables of independent models.

    Args:
        rows: rows of one data set with "width", "lmbda", "bpp", "psnr"; at least two widths with three lambdas each.
        tolerance: see `TOLERANCE`.

    The widest width gets its highest lambda. Each narrower one gets the slope of its own curve at the highest rate at
    which it still lies within `tolerance` of the next wider curve.

    Raises:
        UserError: when there are too few models, two runs of one width and lambda, or a curve whose rate or quality
            does not rise with lambda.
    """
    _refuse_twins(rows)
    made = _curves(rows)
    top = made[-1]
    found = [WidthLambda(top.width, float(top.lambdas[-1]), float(top.rates[-1]))]
    for narrow, wide in zip(made[-2::-1], made[:0:-1], strict=True):
        left = _leaves(narrow, wide, tolerance)
        if left.note is None and left.lmbda >= found[-1].lmbda:
            left = replace(left, note=f"width {left.width} saturates no sooner than width {wide.width}: is one needed?")
        found.append(left)
    return found[::-1]


def _refuse_twins(rows: Sequence[Mapping[str, Any]]) -> None:
    """The mean of two models is no model's."""
    runs: dict[tuple[Any, Any], Any] = {}
    for row in rows:
        place = (row.get("width"), row.get("lmbda"))
        first, run = runs.setdefault(place, row.get("run")), row.get("run")
        if first != run:
            raise UserError(
                f"The runs {first} and {run} are both of width {place[0]} and lambda {place[1]:g}: leave one out."
            )


def _leaves(narrow: _WidthCurve, wide: _WidthCurve, tolerance: float) -> WidthLambda:
    low, high = max(narrow.rates[0], wide.rates[0]), min(narrow.rates[-1], wide.rates[-1])
    if low >= high:
        raise UserError(
            f"The curves of widths {narrow.width} and {wide.width} have no rates in common: train both at more lambdas."
        )
    rates = np.geomspace(low, high, 1000)
    apart = wide.psnr(rates) - narrow.psnr(rates) > tolerance
    if not apart.any():
        note = f"width {narrow.width} keeps up to {high:.4g} bpp: train both widths at higher lambdas"
        return WidthLambda(narrow.width, narrow.slope(high), float(high), note)
    first = int(np.argmax(apart))
    note = None
    if first == 0:
        note = f"width {narrow.width} lies below width {wide.width} from {low:.4g} bpp on: train both at lower lambdas"
    rate = float(rates[max(first - 1, 0)])
    return WidthLambda(narrow.width, narrow.slope(rate), rate, note)


def _curves(rows: Sequence[Mapping[str, Any]]) -> list[_WidthCurve]:
    points: dict[int, dict[float, list[tuple[float, float]]]] = {}
    for row in rows:
        width, lmbda, bpp, psnr = (row.get(key) for key in ("width", "lmbda", "bpp", "psnr"))
        if width and lmbda and bpp and psnr is not None and math.isfinite(psnr):
            points.setdefault(int(width), {}).setdefault(float(lmbda), []).append((bpp, 10 ** (-psnr / 10)))
    made = []
    for width, by_lambda in sorted(points.items()):
        if len(by_lambda) < 3:
            raise UserError(
                f"Width {width} has models at {counted(len(by_lambda), 'lambda')}; three at least make a curve."
            )
        means = [(value, *np.mean(pairs, axis=0)) for value, pairs in sorted(by_lambda.items())]
        lambdas, rates, errors = (np.array(column) for column in zip(*means, strict=True))
        if not (np.diff(rates) > 0).all() or not (np.diff(errors) < 0).all():
            raise UserError(
                f"Width {width}: rate and PSNR do not rise with lambda; train longer, or leave a model out."
            )
        made.append(_WidthCurve(width, rates, errors, lambdas))
    if len(made) < 2:
        raise UserError(
            "Lambdas need independent models of at least two widths: a sweep over codec.width and codec.lmbda."
        )
    return made
