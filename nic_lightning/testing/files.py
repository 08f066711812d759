"""Checks of every codec's points and files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nic_lightning.baselines.still import StillImageCodec
from nic_lightning.codecs.base import ImageCodec
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.testing.subject import Subject, expect, expect_equal, expect_error

SIZES = ((1, 1), (17, 33), (64, 48))
"""(H, W) of images whose files are tried: the smallest, no multiple of any stride, multiples."""


def is_an_image_codec_with_distinct_points(subject: Subject) -> None:
    """The protocol is there; points have labels and indices of their own, and rise."""
    codec = subject.codec
    expect(isinstance(codec, ImageCodec), "the methods of codecs.base.ImageCodec", type(codec).__name__)
    points = codec.operating_points
    labels = [point.label for point in points]
    expect(len(set(labels)) == len(labels) > 0, "operating points with labels of their own", labels)
    expect_equal([point.index for point in points], list(range(len(points))), "indices of the operating points")
    for lever in ("lmbda", "quality"):
        values = [getattr(point, lever) for point in points]
        expect(None in values or values == sorted(values), f"operating points of rising {lever}", values)


def files_bring_back_images(subject: Subject, height: int, width: int) -> None:
    """Files of first, middle and last point decode to an image of the size, and are the same a second time."""
    x = subject.example(height, width)
    points = subject.codec.operating_points
    for point in {0: points[0], 1: points[len(points) // 2], 2: points[-1]}.values():
        data = subject.file(x, point)
        _expect_result(subject, subject.decoded(data, point), x, f"point {point.label}")
        again = subject.file(x, point)
        expect(again == data, f"the same file of the same image at point {point.label}", "another one: chance is in it")


def _expect_result(subject: Subject, decoded: Any, x: Tensor, where: str) -> None:
    """Of images those of the size in [0, 1]; of other media what fits the input and is finite."""
    if subject.of_images:
        expect_equal(tuple(decoded.shape), tuple(x.shape), f"{where}: a decoded image of shape")
    expect(subject.handler.fits(x, decoded), f"{where}: a result that fits {tuple(x.shape)}", tuple(decoded.shape))
    for part in subject.handler.parts(decoded):
        kind = "a decoded image" if subject.of_images else "a result"
        expect_equal(part.dtype, torch.float32, f"{where}: {kind} of type")
        expect(part.isfinite().all(), f"{where}: a finite result", "NaN or infinity")
    if subject.of_images:
        low, high = float(decoded.min()), float(decoded.max())
        expect(0 <= low <= high <= 1, f"{where}: a decoded image in [0, 1]", f"{low:g} to {high:g}")


def both_ends_of_the_range_bring_back_images(subject: Subject) -> None:
    """The lowest and the highest setting work, and what lies beyond is refused."""
    x, codec = subject.example(40, 56), subject.codec
    if isinstance(codec, StillImageCodec):
        at_ends = Subject(_at_ends(subject), subject.config)
        sizes = [len(at_ends.file(x, point)) for point in at_ends.codec.operating_points]
        expect(sizes[0] < sizes[-1], "a larger file at the upper end than at the lower one", f"{sizes} bytes")
    else:
        at_ends = subject
    points = at_ends.codec.operating_points
    ends = [points[0], points[-1]] if isinstance(codec, StillImageCodec) else _lambda_ends(codec)
    for point in ends:
        decoded = at_ends.decoded(at_ends.file(x, point), point)
        _expect_result(subject, decoded, x, f"point {point.label}")


def _at_ends(subject: Subject) -> StillImageCodec:
    """A classic codec of its lowest and highest setting; settings beyond are refused."""
    codec = subject.codec
    ends = sorted(codec.bounds)
    key = "rates" if codec.settings == "rates" else "qps" if codec.settings == "QPs" else "qualities"
    values = [-end for end in ends] if key == "qps" else ends
    for beyond in (values[0] - 1, values[1] + 1):
        with expect_error(UserError, "lie in", f"{key}=[{beyond:g}]"):
            subject.built(**{key: [beyond]})
    return subject.built(**{key: values})


def _lambda_ends(codec: ImageCodec) -> list:
    """First and last point; of a continuous lambda both ends of its range, where what lies beyond is refused."""
    lambdas = getattr(codec, "lambda_range", None)
    if lambdas is None:
        return [codec.operating_points[0], codec.operating_points[-1]]
    low, high = lambdas
    for beyond in (0.99 * low, 1.01 * high, float("nan"), -1.0):
        with expect_error(UserError, "outside", f"point_at({beyond:g})"):
            codec.point_at(beyond)  # pyright: ignore[reportAttributeAccessIssue]
    return [codec.point_at(value) for value in (low, 1.0001 * low, 0.9999 * high, high)]  # pyright: ignore


def hostile_bytes_end_in_a_sentence(subject: Subject) -> None:
    """What is no whole file of the codec is a BitstreamError of one line."""
    point = subject.codec.operating_points[0]
    data = subject.file(subject.example(17, 33), point)
    wrong = {
        "no bytes": b"",
        "one zero byte": b"\0",
        "the first ten bytes of a file": data[:10],
        "half a file": data[: len(data) // 2],
        "500 times x": b"x" * 500,
        "a file backwards": bytes(reversed(data)),
    }
    for what, content in wrong.items():
        with expect_error(BitstreamError, "", what):
            subject.codec.decompress(subject.codec.unpack(content)[0], point)
