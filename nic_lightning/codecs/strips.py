"""Transforms of large images strip by strip: memory depends on the strip and not on the image.

An output of a convolutional transform depends on inputs nearby only. So a strip of the image, taken with as much of its
surroundings as the transform reaches, gives the outputs in its middle as the whole image does, but for the order in
which a convolution adds up floats: a latent that lies halfway between two integers may be rounded to the other one.
"""
# ruff: noqa: D102  (members of protocols, which LearnedCodec and nn.Module document)

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from nic_lightning.codecs.base import OperatingPoint

BUDGET = 2**29
"""Bytes that the feature maps of one strip may take; an image that needs no more is not cut."""
ALWAYS_WHOLE = 2**20
"""Pixels of an image that is never cut, whatever its feature maps take."""
MAX_WHOLE_PIXELS = 2**25
"""Of an image for a codec whose transforms cannot be cut."""
_LIMITS: ContextVar[tuple[int, int]] = ContextVar("strips", default=(BUDGET, ALWAYS_WHOLE))
_MAPS = 3
"""Maps of the largest size that are in memory at a time: input, output, and a third one within GDN."""
_LONGEST_PROBE = 4096
"""Image samples along which a transform's reach is looked for; one that reaches farther is not cut."""


@contextmanager
def strips_of(budget: int, always_whole: int = 0) -> Iterator[None]:
    """Choose other limits than BUDGET (bytes) and ALWAYS_WHOLE (pixels): for checks, or a machine of little memory."""
    token = _LIMITS.set((budget, always_whole))
    try:
        yield
    finally:
        _LIMITS.reset(token)


class Layers(Protocol):
    """A module."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


class Transforms(Layers, Protocol):
    """What is taken of a learned codec."""

    stride: int
    memory_format: torch.memory_format

    @property
    def operating_points(self) -> Sequence[OperatingPoint]: ...
    @property
    def reaches(self) -> dict[tuple[object, ...], Reach | None]: ...
    def padded_size(self, height: int, width: int) -> tuple[int, int]: ...
    def pad(self, x: Tensor) -> Tensor: ...
    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor: ...
    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor: ...


@dataclass(frozen=True)
class Reach:
    """Which blocks of inputs a block of outputs depends on: those before and behind the one at its place."""

    before: int
    behind: int
    bytes_per_block: int
    """Of the largest feature map, for one block of inputs, a square."""


class Cut(NamedTuple):
    """A strip: outputs of the blocks [first, last) from the inputs of the blocks [start, end)."""

    first: int
    last: int
    start: int
    end: int


def reach_of(transform: Callable[[Tensor], Tensor], layers: Layers, channels: int, block: int) -> Reach | None:
    """How far a transform looks along an image; None where every output depends on all inputs.

    NaN passes through every layer, also through weights of 0: an output that is NaN depends on an input that was.
    Kernels are squares, so that rows stand for columns, too.

    Args:
        transform: (1, channels, block * h, block) to (1, any, other * h, other), whatever h is.
        layers: holds its layers.
        channels: of inputs.
        block: input samples from one block to the next: 16 for the analysis of images, 1 for latents.
    """
    device = _device(layers)
    length = 16
    while length * block <= _LONGEST_PROBE:
        x = torch.zeros((1, channels, length * block, block), device=device)
        middle = length // 2
        x[:, :, middle * block : (middle + 1) * block] = math.nan
        out, largest = _with_largest_map(partial(transform, x), layers)
        hit = torch.isnan(out).any(dim=3).any(dim=1)[0].view(length, -1).any(dim=1).nonzero().flatten().tolist()
        if not hit or not largest:
            return None  # no outputs of inputs, or none that can be counted
        if hit[0] > 0 and hit[-1] < length - 1:
            return Reach(hit[-1] - middle, middle - hit[0], 4 * largest // length)
        length *= 2
    return None


def _with_largest_map(call: Callable[[], Tensor], layers: Layers) -> tuple[Tensor, int]:
    """What a call gives, and the elements of the largest tensor that one of the layers gave in it.

    Modules that compute a kernel are left out: it is larger than the maps of a probe, and no strip's.
    """
    sizes = [0]

    def note(_: object, __: object, out: object) -> None:
        sizes.append(out.numel() if isinstance(out, Tensor) else 0)

    maps = [module for name, module in layers.named_modules() if "parametrizations" not in name.split(".")]
    handles = [module.register_forward_hook(note) for module in maps]
    try:
        return call(), max(sizes)
    finally:
        for handle in handles:
            handle.remove()


def cuts(blocks: int, across: int, reach: Reach, budget: int) -> Iterator[Cut]:
    """Strips of an image of `blocks` blocks, `across` blocks wide, as few as `budget` bytes of feature maps allow.

    One strip where all fits; strips of one block where nothing does.
    """
    most = budget // (_MAPS * reach.bytes_per_block * across)
    around = reach.before + reach.behind
    count = 1 if blocks <= most else -(-blocks // max(1, most - around))
    for k in range(count):
        first, last = blocks * k // count, blocks * (k + 1) // count
        yield Cut(first, last, max(0, first - reach.before), min(blocks, last + reach.behind))


@parametrize.cached()  # kernels that are computed are so once for all strips
def analysis_of(codec: Transforms, x: Tensor, point: OperatingPoint) -> Tensor:
    """Latents (1, C, h, w) of one image (1, 3, H, W), floats in [0, 1] or uint8, of any size."""
    block, (budget, always_whole) = codec.stride, _LIMITS.get()
    height, width = codec.padded_size(x.shape[-2], x.shape[-1])
    reach = _reach(codec, "analysis", point, 3, block) if height * width > always_whole else None
    if reach is None:
        return codec.analysis(codec.pad(as_float(x)), point)
    dim, across = (-2, width) if height >= width else (-1, height)
    blocks, y = max(height, width) // block, None
    for cut in cuts(blocks, across // block, reach, budget):
        strip = _padded_strip(codec, x, dim, cut.start * block, cut.end * block)
        part = codec.analysis(strip, point).narrow(dim, cut.first - cut.start, cut.last - cut.first)
        if (cut.first, cut.last) == (0, blocks):
            return part
        if y is None:
            size = (1, part.shape[1], height // block, width // block)
            y = torch.empty(size, dtype=part.dtype, device=part.device, memory_format=codec.memory_format)
        y.narrow(dim, cut.first, cut.last - cut.first).copy_(part)
    assert y is not None
    return y


@parametrize.cached()
def synthesis_of(
    codec: Transforms, y: Tensor, point: OperatingPoint, shape: tuple[int, int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """The image (1, 3, H, W) of latents (1, C, h, w), cropped to `shape` (H, W), in [0, 1], or uint8 in [0, 255]."""
    block, (budget, always_whole) = codec.stride, _LIMITS.get()
    height, width = shape
    large = y.shape[-2] * y.shape[-1] * block * block > always_whole
    reach = _reach(codec, "synthesis", point, y.shape[1], 1) if large else None
    if reach is None:
        return as_image(codec.synthesis(_laid_out(codec, y), point)[..., :height, :width], dtype)
    dim, across = (-2, y.shape[-1]) if y.shape[-2] >= y.shape[-1] else (-1, y.shape[-2])
    image = y.new_empty((1, 3, height, width), dtype=dtype)
    for cut in cuts(y.shape[dim], across, reach, budget):
        if cut.first * block >= image.shape[dim]:  # the rest is padding
            break
        made = codec.synthesis(_laid_out(codec, y.narrow(dim, cut.start, cut.end - cut.start)), point)
        strip = made.narrow(dim, (cut.first - cut.start) * block, (cut.last - cut.first) * block)
        there = image.narrow(dim, cut.first * block, min(cut.last * block, image.shape[dim]) - cut.first * block)
        there.copy_(as_image(strip[..., : there.shape[-2], : there.shape[-1]], dtype))
    return image


@torch.no_grad()
def goes_in_strips(codec: Transforms, point: OperatingPoint | None = None) -> bool:
    """Whether large images can be cut for a codec's transforms."""
    point = point or codec.operating_points[0]
    latents = analysis_of(codec, torch.zeros((1, 3, 1, 1), device=_device(codec)), point).shape[1]
    both = ("analysis", 3, codec.stride), ("synthesis", latents, 1)
    return all(_reach(codec, name, point, channels, block) is not None for name, channels, block in both)


def _device(layers: Layers) -> torch.device | None:
    return next((p.device for p in layers.parameters()), None)


def _reach(codec: Transforms, name: str, point: OperatingPoint, channels: int, block: int) -> Reach | None:
    """Of a codec's transform at a point; it is looked for once."""
    known = codec.reaches
    key = (name, point.width, point.label, channels)
    if key not in known:
        known[key] = reach_of(partial(getattr(codec, name), point=point), codec, channels, block)
    return known[key]


def _padded_strip(codec: Transforms, x: Tensor, dim: int, start: int, end: int) -> Tensor:
    """Samples [start, end) along `dim` of the padded image, as floats."""
    here = x.shape[dim]
    first = min(start, here - 1)  # a strip may lie in the padding
    strip = as_float(x.narrow(dim, first, min(end, here) - first))
    bottom = end - start - strip.shape[dim]
    across = -1 if dim == -2 else -2
    right = codec.padded_size(*x.shape[-2:])[across] - x.shape[across]
    sides = (0, right, 0, bottom) if dim == -2 else (0, bottom, 0, right)
    padded = F.pad(strip, sides, mode="replicate") if any(sides) else strip
    return _laid_out(codec, padded)


def _laid_out(codec: Transforms, x: Tensor) -> Tensor:
    return x.contiguous(memory_format=codec.memory_format)


def as_float(x: Tensor) -> Tensor:
    """Images in [0, 1], of floats as they are, or of uint8."""
    return x if x.is_floating_point() else x.float().div_(255)


def as_image(x: Tensor, dtype: torch.dtype) -> Tensor:
    """What a synthesis transform gives, clipped to [0, 1], or as uint8 in [0, 255]."""
    # Latents that no image has, from a hostile file, can overflow to NaN.
    x = x.nan_to_num(0).clamp(0, 1)
    return x.mul(255).round().to(dtype) if dtype == torch.uint8 else x.to(dtype)
