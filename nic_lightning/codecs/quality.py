"""Quality 1 to 100: one scale for every codec, whatever its operating points are called."""

from __future__ import annotations

import math
from typing import Any

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.choosing import default_point
from nic_lightning.errors import UserError

LOWEST, MIDDLE, HIGHEST = 1, 50, 100


def point_of_quality(codec: ImageCodec, quality: int) -> OperatingPoint:
    """The operating point of a quality.

    1 is the codec's lowest point, 50 its default one, the middle, and 100 its highest. Between these, log lambda goes
    up in even steps where lambda is continuous; else it is the nearest operating point, counted along the list.

    Raises:
        UserError: it is no whole number from 1 to 100, or the codec's points are tasks.
    """
    if type(quality) is not int or not LOWEST <= quality <= HIGHEST:
        raise UserError(f"The quality is a whole number from {LOWEST} to {HIGHEST}, not {quality}.")
    middle, points = default_point(codec), codec.operating_points
    if quality == MIDDLE:
        return middle
    if getattr(codec, "lambda_range", None) is None:
        place = _between(quality, 0.0, float(points.index(middle)), len(points) - 1.0)
        return points[round(place)]
    ladder: Any = codec
    low, high = (math.log(value) for value in ladder.lambda_range)
    wanted = math.exp(_between(quality, low, math.log(middle.lmbda or 1.0), high))
    return ladder.point_at(min(max(wanted, ladder.lambda_range[0]), ladder.lambda_range[1]))  # exp(log(x)) rounds


def _between(quality: int, low: float, middle: float, high: float) -> float:
    """Linear from `low` at 1 to `middle` at 50, and on to `high` at 100."""
    if quality <= MIDDLE:
        return low + (middle - low) * (quality - LOWEST) / (MIDDLE - LOWEST)
    return middle + (high - middle) * (quality - MIDDLE) / (HIGHEST - MIDDLE)
