"""How long a codec takes on this machine, point by point, with entropy coding apart from the transforms."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.strips import as_float
from nic_lightning.errors import UserError, counted

STAGES = ("analysis", "synthesis", "encoding", "decoding")
"""Transforms, then what makes a string of latents and latents of a string: entropy coding, with hyper transforms."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles in milliseconds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class PointLatency:
    """Times of one operating point on one image, batch 1."""

    label: str
    analysis: Spread
    synthesis: Spread
    encoding: Spread
    decoding: Spread


def measure_latency(
    codec: LearnedCodec, x: Tensor, repeat: int = 15, points: Sequence[OperatingPoint] | None = None
) -> list[PointLatency]:
    """Time image `x` (1, 3, H, W) at `points` (default: all), `repeat` times after one that is not counted.

    Points take turns, so that a slow phase of the machine hits all alike. Tables must have been made.
    """
    if repeat < 1:
        raise UserError(f"{repeat} repetitions measure nothing; give 1 or more.")
    points = codec.operating_points if points is None else points
    rounds = [[stage_times(codec, x, point) for point in points] for _ in range(repeat + 1)][1:]
    return [
        PointLatency(point.label, *(spread([r[i][stage] for r in rounds]) for stage in STAGES))
        for i, point in enumerate(points)
    ]


@torch.no_grad()
def stage_times(codec: LearnedCodec, x: Tensor, point: OperatingPoint, coding: bool = True) -> dict[str, float]:
    """Milliseconds of each of `STAGES` once; without `coding`, of the transforms alone. `x` may be uint8."""
    times = {}

    def timed(stage: str, function: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = function()
        times[stage] = 1e3 * (time.perf_counter() - start)
        return result

    x = codec.pad(as_float(x))
    y = timed("analysis", lambda: codec.analysis(x, point))
    y_hat = y.round()
    if coding:
        strings, _ = timed("encoding", lambda: codec.encode_latents(y, point))
        size = (y.shape[-2], y.shape[-1])
        y_hat = timed("decoding", lambda: codec.decode_image_latents(strings, size, point))["y"]
    y_hat = y_hat.contiguous(memory_format=codec.memory_format)
    given = codec.receiver_example(point)
    timed("synthesis", lambda: codec.synthesis(y_hat, point, **given))
    return times


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of one value or more."""
    low, middle, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else [*values] * 3
    return Spread(middle, low, high)


def photograph(size: tuple[int, int]) -> Tensor:
    """Image (1, 3, H, W) of the photograph that comes with scikit-image, repeated where it is too small."""
    from skimage import data

    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    rows, columns = (torch.arange(n) % side for n, side in zip(size, photo.shape[-2:], strict=True))
    return photo[:, :, rows][..., columns]


def latency_table(latencies: Sequence[PointLatency], repeat: int) -> str:
    """The times as text for a terminal."""
    cell = "{:>8.1f} ({:.1f} to {:.1f})".format
    threads = counted(torch.get_num_threads(), "thread")
    lines = [
        f"milliseconds on this machine: batch 1, {threads}, torch {torch.__version__}",
        f"medians of {repeat} rounds in which the points take turns, in brackets the middle half",
        f"  {'point':>12}" + "".join(f"  {stage:>26}" for stage in STAGES),
    ]
    for point in latencies:
        spreads = (getattr(point, stage) for stage in STAGES)
        lines.append(f"  {point.label:>12}" + "".join(f"  {cell(s.median, s.low, s.high):>26}" for s in spreads))
    lines.append("  encoding, decoding: entropy coding, and hyper transforms; less of it where a codec is not trained")
    return "\n".join(lines)
