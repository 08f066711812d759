"""Meet a target rate or a target PSNR on one image, by writing real files until one fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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
    0.05 dB). With a continuous lambda this is bisection in log lambda; rate grows with lambda only
    approximately, so the nearest file seen is kept. A codec without one tries all its points. With `points`, these are
    tried and no others. Outside what is reachable, the result is the nearest reachable file with a message; a classic
    codec's ladder of qualities is ours and not all that it can do, so there it is an error. Raises `UserError` for a
    target that makes no sense, or lies outside a classic codec's ladder.
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
        best, message = _bisect(lambda v: attempt(codec.point_at(v)), lambdas, target, allowed, unit)  # pyright: ignore[reportAttributeAccessIssue]
    quality = best.value if psnr is not None else _psnr(codec, best.encoded, best.point, x)
    return SearchResult(best.point, best.encoded, best.data, _bpp(best.data, x), quality, message)


def _bisect(
    attempt: Callable[[float], _Trial], lambdas: tuple[float, float], target: float, allowed: float, unit: str
) -> tuple[_Trial, str | None]:
    low, high = math.log(lambdas[0]), math.log(lambdas[1])
    trials = [attempt(lambdas[0]), attempt(lambdas[1])]
    if trials[0].value < target < trials[1].value:
        while len(trials) < MAX_FILES and min(abs(t.value - target) for t in trials) > allowed:
            middle = (low + high) / 2
            trials.append(attempt(math.exp(middle)))
            low, high = (middle, high) if trials[-1].value < target else (low, middle)
    best = min(trials, key=lambda t: abs(t.value - target))
    return best, _message(best, trials, target, allowed, unit)


def _message(best: _Trial, trials: Iterable[_Trial], target: float, allowed: float, unit: str) -> str | None:
    if abs(best.value - target) <= allowed:
        return None
    values = [t.value for t in trials]
    nearest = f"the nearest gives {best.value:.3f} {unit}"
    if _within(trials, target):
        return f"No operating point gives {target:g} {unit} on this image; {nearest}."
    reach = f"{min(values):.3f} to {max(values):.3f} {unit}"
    return f"This codec reaches {reach} on this image, not {target:g} {unit}; {nearest}."


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
