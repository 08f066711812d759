"""The best file of at most so many bytes, found by writing real files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.choosing import Choice, file_at, require_rates
from nic_lightning.codecs.search import MAX_FILES
from nic_lightning.errors import UserError
from nic_lightning.media.base import medium_of

NEAR = 0.99
"""A file that takes so much of what is allowed ends the search between two points."""


def largest_within(
    codec: ImageCodec, x: Tensor, max_bytes: int, points: Sequence[OperatingPoint] | None = None
) -> Choice:
    """The file of an input (1, ...) of the highest point whose file, header included, has at most `max_bytes` bytes.

    Files grow with the point, but for a few: so points are halved, as long as the lowest fits, and where it does not,
    all are tried. With a continuous lambda the search goes on between the two neighbours, until a file has 99 % of what
    is allowed or MAX_FILES are written. With `points` these are tried and no others.

    Raises:
        UserError: no file is so small, or the codec's points are tasks.
    """
    require_rates(codec)
    if max_bytes < 1:
        raise UserError(f"A file of {max_bytes} bytes is none: give a number above 0.")
    ladder = list(codec.operating_points if points is None else points)
    written: dict[OperatingPoint, Choice] = {}

    def file(point: OperatingPoint) -> Choice:
        if point not in written:
            written[point] = file_at(codec, x, point)
        return written[point]

    def fits(point: OperatingPoint) -> bool:
        return len(file(point).data) <= max_bytes

    place = _highest(ladder, fits)
    if place is None:
        least = min(len(choice.data) for choice in written.values())
        raise UserError(
            f"No file of this {medium_of(codec).name} is so small: the smallest of {len(ladder)} points has {least:,} "
            f"bytes, {max_bytes:,} are allowed."
        )
    if points is None and getattr(codec, "lambda_range", None) is not None and place + 1 < len(ladder):
        return file(_between(codec, ladder[place], ladder[place + 1], file, max_bytes, MAX_FILES - len(written)))
    return file(ladder[place])


def _highest(ladder: Sequence[OperatingPoint], fits: Callable[[OperatingPoint], bool]) -> int | None:
    """Place of the highest point that fits, where what fits lies below what does not; None where none does."""
    if fits(ladder[-1]):
        return len(ladder) - 1
    if not fits(ladder[0]):
        return next((place for place in reversed(range(1, len(ladder))) if fits(ladder[place])), None)
    low, high = 0, len(ladder) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(ladder[middle]) else (low, middle)
    return low


def _between(
    codec: Any,
    low: OperatingPoint,
    high: OperatingPoint,
    file: Callable[[OperatingPoint], Choice],
    max_bytes: int,
    tries: int,
) -> OperatingPoint:
    """The highest lambda found to fit from `low`, which fits, to `high`, which does not."""
    ends = [math.log(point.lmbda or 1.0) for point in (low, high)]
    best = low
    for _ in range(tries):
        if len(file(best).data) >= NEAR * max_bytes:
            break
        point = codec.point_at(math.exp(sum(ends) / 2))
        if point in (low, high, best):  # no finer step has a name in files
            break
        if len(file(point).data) <= max_bytes:
            best, ends[0] = point, sum(ends) / 2
        else:
            ends[1] = sum(ends) / 2
    return best
