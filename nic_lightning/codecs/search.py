"""Meet a target rate or a target PSNR on one image, by writing real files until one fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from nic_lightning.codecs.base import Encoded, ImageCodec, OperatingPoint
from nic_lightning.errors import UserError

MAX_FILES = 20
PSNR_TOLERANCE = 0.05
"""dB by which a PSNR search may miss."""


@dataclass(frozen=True)
class SearchResult:
    """The file that came nearest: bits of the whole file per pixel, PSNR in dB of 8-bit-rounded images."""

    point: OperatingPoint
    encoded: Encoded
    data: bytes
    bpp: float
    psnr: float
    message: str | None
    """What the user should know when the target was not met; None when it was."""


@dataclass(frozen=True)
class _Trial:
    point: OperatingPoint
    encoded: Encoded
    data: bytes
    value: float


def search_point(
    codec: ImageCodec,
    x: Tensor,
    *,
    bpp: float | None = None,
    psnr: float | None = None,
    tolerance: float = 0.02,
    points: Sequence[OperatingPoint] | None = None,
) -> SearchResult:
    """Find the operating point whose file of image `x` (1, 3, H, W) is nearest to a target.

    Give `bpp` (bits of the whole file per pixel, met within the fraction `tolerance`) or `psnr` (dB, met within
    0.05 dB). With a continuous lambda this is bisection in log lambda; rate and quality grow with lambda only
    approximately, so the trained points are tried, too, where it fails, then what lies between neighbours on both sides
    of the target, and the nearest file seen is kept. A codec without one tries all its points. With `points`, these are
    tried and no others. Where none meets the target, the result is the nearest with a message about what was tried; a
    classic codec's ladder of qualities is ours and not all that it can do, so outside of it that is an error. Raises
    `UserError` for a target that makes no sense, or lies outside a classic codec's ladder.
    """
    if (bpp is None) == (psnr is None):
        raise UserError("Give a target rate or a target PSNR, and only one of them.")
    target = psnr if bpp is None else bpp
    assert target is not None
    if not math.isfinite(target) or target <= 0:
        raise UserError(f"The target {target} is not a positive number.")

    def attempt(point: OperatingPoint) -> _Trial:
        encoded = codec.compress(x, point)
        data = codec.pack(encoded, point)
        value = _bpp(data, x) if psnr is None else _psnr(codec, encoded, point, x)
        return _Trial(point, encoded, data, value)

    allowed = tolerance * target if psnr is None else PSNR_TOLERANCE
    unit = "bpp" if psnr is None else "dB"
    lambdas = getattr(codec, "lambda_range", None)
    if lambdas is None or points is not None:
        candidates = getattr(codec, "candidate_points", codec.operating_points) if points is None else points
        trials = [attempt(point) for point in candidates]
        best = min(trials, key=lambda t: abs(t.value - target))
        message = _message(best, trials, target, allowed, unit)
        if best.point.quality is not None and not _within(trials, target, allowed):
            raise UserError(f"{codec.name}: {message}")
    else:
        search = _Search(attempt, codec, target, allowed)
        search.run(lambdas)
        best = search.best
        message = _message(best, search.trials, target, allowed, unit)
    quality = best.value if psnr is not None else _psnr(codec, best.encoded, best.point, x)
    return SearchResult(best.point, best.encoded, best.data, _bpp(best.data, x), quality, message)


class _Search:
    """Files at any lambda of a codec until one meets the target, or MAX_FILES are written."""

    def __init__(self, attempt: Callable[[OperatingPoint], _Trial], codec: Any, target: float, allowed: float):
        self.attempt, self.codec, self.target, self.allowed = attempt, codec, target, allowed
        self.trials: list[_Trial] = []

    @property
    def best(self) -> _Trial:
        return min(self.trials, key=lambda trial: abs(trial.value - self.target))

    @property
    def done(self) -> bool:
        return len(self.trials) >= MAX_FILES or abs(self.best.value - self.target) <= self.allowed

    def run(self, lambdas: tuple[float, float]) -> None:
        """Between the ends, where they lie on both sides of the target; else at trained points, and between these."""
        first, last = (self._at(lmbda) for lmbda in lambdas)
        if first.value < self.target < last.value:
            self._between(first, last)
        for point in self.codec.operating_points:
            if not self.done and all(trial.point.lmbda != point.lmbda for trial in self.trials):
                self._try(point)
        for low, high in pairwise(sorted(self.trials, key=lambda trial: trial.point.lmbda or 0.0)):
            if min(low.value, high.value) < self.target < max(low.value, high.value):
                self._between(low, high)

    def _between(self, low: _Trial, high: _Trial) -> None:
        """Halve the interval of log lambda between two files on both sides of the target, either one the better."""
        rising = low.value < high.value
        ends = [math.log(trial.point.lmbda or 1.0) for trial in (low, high)]
        while not self.done:
            middle = sum(ends) / 2
            below = self._at(math.exp(middle)).value < self.target
            ends[0 if below == rising else 1] = middle

    def _at(self, lmbda: float) -> _Trial:
        return self._try(self.codec.point_at(lmbda))

    def _try(self, point: OperatingPoint) -> _Trial:
        self.trials.append(self.attempt(point))
        return self.trials[-1]


def _message(best: _Trial, trials: Sequence[_Trial], target: float, allowed: float, unit: str) -> str | None:
    if abs(best.value - target) <= allowed:
        return None
    values = [t.value for t in trials]
    nearest = f"the nearest gives {best.value:.3f} {unit}"
    tried = "the one point that was tried" if len(values) == 1 else f"the {len(values)} points that were tried"
    if _within(trials, target):
        return f"None of {tried} gives {target:g} {unit} on this image; {nearest}."
    reach = f"{min(values):.3f} to {max(values):.3f} {unit}"
    return f"{tried[0].upper()}{tried[1:]} reach {reach} on this image, not {target:g} {unit}; {nearest}."


def _within(trials: Iterable[_Trial], target: float, allowed: float = 0.0) -> bool:
    values = [t.value for t in trials]
    return min(values) - allowed <= target <= max(values) + allowed


def _bpp(data: bytes, x: Tensor) -> float:
    return 8 * len(data) / (x.shape[-2] * x.shape[-1])


def _psnr(codec: ImageCodec, encoded: Encoded, point: OperatingPoint, x: Tensor) -> float:
    # metrics/fidelity.py stands above this room.
    x_hat = codec.decompress(encoded, point)
    error = torch.round(x_hat.clamp(0, 1) * 255) - torch.round(x * 255)
    mse = error.double().square().mean().item() / 255**2
    return math.inf if mse == 0 else -10 * math.log10(mse)
