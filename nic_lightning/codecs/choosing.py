"""Which operating point an image is encoded at: by its label, by a target rate or PSNR, or the default one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.search import search_point
from nic_lightning.errors import UserError, choices


@dataclass(frozen=True)
class Choice:
    """An operating point and the file that it makes."""

    point: OperatingPoint
    data: bytes
    message: str | None
    """What the user should know when a target or a budget was not met, or when no point was named."""


def has_tasks(codec: ImageCodec) -> bool:
    """Whether the operating points are tasks, each of one rate, and not levels of quality."""
    return codec.operating_points[0].mode is not None


def default_point(codec: ImageCodec) -> OperatingPoint:
    """The operating point of an image for which none is named: the middle one; of an even number the later of two.

    Raises UserError for a codec whose points are tasks.
    """
    points = codec.operating_points
    if has_tasks(codec) and len(points) > 1:
        labels = ", ".join(point.label for point in points)
        raise UserError(f"The operating points of codec {codec.name} are tasks ({labels}): name one.")
    return points[len(points) // 2]


def about_default(codec: ImageCodec) -> str | None:
    """A sentence that says what `default_point` took; None where there is nothing else to take."""
    points = codec.operating_points
    if len(points) == 1:
        return None
    where = f"the middle of {len(points)} from {points[0].label} to {points[-1].label}"
    return f"No operating point was named: took {default_point(codec).label}, {where}."


def labelled_point(codec: ImageCodec, label: str) -> OperatingPoint:
    """Operating point of a label, or of a lambda where lambda is continuous; UserError where there is none."""
    candidates = candidate_points(codec)
    for point in candidates:
        if point.label == label:
            return point
    if getattr(codec, "lambda_range", None) is not None:
        try:
            value = float(label)
        except ValueError:
            pass
        else:
            return codec.point_at(value)  # pyright: ignore[reportAttributeAccessIssue]
    offer = choices(label, [point.label for point in candidates])
    raise UserError(f"The codec has no operating point {label!r}; {offer}.")


def candidate_points(codec: ImageCodec) -> Sequence[OperatingPoint]:
    """Every discrete point of a codec: the operating points, and what else files may name."""
    return getattr(codec, "candidate_points", codec.operating_points)


def wished_point(codec: ImageCodec, wish: OperatingPoint | str | float | None) -> OperatingPoint:
    """Operating point of a label, a lambda (or whatever number the label is), or a point of this codec.

    None is `default_point`. Raises UserError for what the codec does not have.
    """
    if wish is None:
        return default_point(codec)
    if not isinstance(wish, OperatingPoint):
        whole = isinstance(wish, float) and wish.is_integer()  # 512.0 is the point 512
        return labelled_point(codec, str(int(wish)) if whole else str(wish))
    if wish.index < 0 and wish.lmbda is not None:
        return labelled_point(codec, repr(wish.lmbda))
    if wish not in candidate_points(codec):
        raise UserError(f"Codec {codec.name} has no operating point {wish.label!r} like that: it is of another codec.")
    return wish


def file_at(codec: ImageCodec, x: Tensor, point: OperatingPoint, message: str | None = None) -> Choice:
    """The file of an input (1, ...) at a point."""
    made = getattr(codec, "file_of", None)  # sooner than both steps
    data = codec.pack(codec.compress(x, point), point) if made is None else made(x, point)
    return Choice(point, data, message)


def file_for(codec: ImageCodec, x: Tensor, **wishes: Any) -> Choice:
    """The file of an input (1, ...) that meets a target best; `wishes` are those of `search_point`."""
    require_rates(codec)
    found = search_point(codec, x, **wishes)
    return Choice(found.point, found.data, found.message)


def require_rates(codec: ImageCodec) -> None:
    """Raise UserError for a codec whose points are tasks: there is no rate to search for."""
    if has_tasks(codec):
        labels = ", ".join(point.label for point in codec.operating_points)
        raise UserError(f"Codec {codec.name} has one rate for each task, set in training: name the task ({labels}).")
