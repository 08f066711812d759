"""Meet a target rate or a target quality on one input, by writing real files until one fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from nic_lightning.codecs.base import Encoded, ImageCodec, OperatingPoint
from nic_lightning.errors import UserError, choices
from nic_lightning.media.base import Medium, Quality, medium_of

MAX_FILES = 20


@dataclass(frozen=True)
class SearchResult:
    """The file that came nearest, by the medium's rate of the whole file and its first quality."""

    point: OperatingPoint
    encoded: Encoded
    data: bytes
    rate: float
    quality: float
    message: str | None
    """What the user should know when the target was not met; None when it was."""

    @property
    def bpp(self) -> float:
        """The rate of an image, bits of the whole file per pixel."""
        return self.rate

    @property
    def psnr(self) -> float:
        """The quality of an image, dB of 8-bit-rounded images."""
        return self.quality


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
    tolerance: float = 0.02,
    points: Sequence[OperatingPoint] | None = None,
    **targets: float | None,
) -> SearchResult:
    """Find the operating point whose file of an input `x` (1, ...) is nearest to a target.

    Give one target by its name in the codec's medium: of images `bpp` (bits of the whole file per pixel, met within the
    fraction `tolerance`) or `psnr` (dB, met within 0.05 dB). With a continuous lambda this is bisection in log lambda;
    rate and quality grow with lambda only approximately, so the trained points are tried, too, where it fails, then
    what lies between neighbours on both sides of the target, and the nearest file seen is kept. A codec without one
    tries all its points. With `points`, these are tried and no others. Where none meets the target, the result is the
    nearest with a message about what was tried; a classic codec's ladder of qualities is ours and not all that it can
    do, so outside of it that is an error. Raises `UserError` for a target that makes no sense, or lies outside a
    classic codec's ladder.
    """
    medium = medium_of(codec)
    key, target = _target(medium, targets)
    handler = medium.handler()

    def rate(data: bytes) -> float:
        return 8 * len(data) / handler.divisor(x)

    def quality(name: str, encoded: Encoded, point: OperatingPoint) -> float:
        return handler.quality(name, x, codec.decompress(encoded, point))

    def attempt(point: OperatingPoint) -> _Trial:
        encoded = codec.compress(x, point)
        data = codec.pack(encoded, point)
        value = rate(data) if key == medium.rate.key else quality(key, encoded, point)
        return _Trial(point, encoded, data, value)

    wanted = medium.targets[key]
    allowed = (wanted.tolerance or 0.0) if isinstance(wanted, Quality) else tolerance * target
    told = _Told(target, allowed, wanted.unit or key, medium.name)
    lambdas = getattr(codec, "lambda_range", None)
    if lambdas is None or points is not None:
        candidates = getattr(codec, "candidate_points", codec.operating_points) if points is None else points
        trials = [attempt(point) for point in candidates]
        best = min(trials, key=lambda t: abs(t.value - target))
        message = told.message(best, trials)
        if best.point.quality is not None and not _within(trials, target, allowed):
            raise UserError(f"{codec.name}: {message}")
    else:
        search = _Search(attempt, codec, target, allowed)
        search.run(lambdas)
        best = search.best
        message = told.message(best, search.trials)
    first = best.value if key == medium.default else quality(medium.default, best.encoded, best.point)
    return SearchResult(best.point, best.encoded, best.data, rate(best.data), first, message)


def _target(medium: Medium, targets: dict[str, float | None]) -> tuple[str, float]:
    """Name and value of the one target that is given."""
    given = {key: value for key, value in targets.items() if value is not None}
    for key in given:
        if key not in medium.targets:
            raise UserError(f"{medium.items.capitalize()} have no target {key!r}; {choices(key, medium.targets)}.")
    if len(given) != 1:
        raise UserError(f"Give a target rate or a target {medium.quality(medium.default).title}, and only one of them.")
    ((key, target),) = given.items()
    if not math.isfinite(target) or target <= 0:
        raise UserError(f"The target {target} is not a positive number.")
    return key, target


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


@dataclass(frozen=True)
class _Told:
    """What is said of files that miss a target."""

    target: float
    allowed: float
    unit: str
    item: str

    def message(self, best: _Trial, trials: Sequence[_Trial]) -> str | None:
        if abs(best.value - self.target) <= self.allowed:
            return None
        values = [t.value for t in trials]
        nearest = f"the nearest gives {best.value:.3f} {self.unit}"
        tried = "the one point that was tried" if len(values) == 1 else f"the {len(values)} points that were tried"
        wanted = f"{self.target:g} {self.unit}"
        if _within(trials, self.target):
            return f"None of {tried} gives {wanted} on this {self.item}; {nearest}."
        if len(values) == 1:
            return (
                f"The one point that was tried reaches {values[0]:.3f} {self.unit} on this {self.item}, not {wanted}."
            )
        reach = f"{min(values):.3f} to {max(values):.3f} {self.unit}"
        return f"{tried[0].upper()}{tried[1:]} reach {reach} on this {self.item}, not {wanted}; {nearest}."


def _within(trials: Iterable[_Trial], target: float, allowed: float = 0.0) -> bool:
    values = [t.value for t in trials]
    return min(values) - allowed <= target <= max(values) + allowed
