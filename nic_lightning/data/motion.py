"""Three frames of known motion, made from photographs: a background and things in front of it, each moving its own way.

    frame s shows at q what lies in a layer at p, where p + s * w(p) = q; s is -1, 0, 1 for the previous, this, the next

w is a shift, a little turning and stretching, and waves. It is known at every pixel of the current frame, and so is
what the things in front hide in the next one. Like all training data it follows from a seed and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.data.images import Pixels

THINGS = 3
"""At most so many in front of the background, at least one."""
_BEND, _WAVE = 0.04, 0.06
"""Largest derivatives of w by its linear part and by its waves: small enough that p can be found by iteration."""
_ITERATIONS = 5
_SMALL, _LARGE = 0.12, 0.35
"""Radius of a thing over the side of the frame."""
_GAIN, _SHIFT, _NOISE = 0.1, 0.03, 0.015
"""How much frames differ in contrast, in brightness and by noise, for values in [0, 1]."""


class Scene(NamedTuple):
    """A frame with its neighbours and its true flow."""

    name: str
    previous: Pixels | None
    """uint8 RGB (H, W, 3), like the others; None where there is none."""
    current: Pixels
    following: Pixels
    flow: NDArray[np.float32]
    """(H, W, 2) in pixels, NaN where unknown."""
    hidden: NDArray[np.bool_]
    """(H, W), where the next frame does not show the pixel, as far as the data says."""


@dataclass(frozen=True)
class _Layer:
    photo: Tensor  # (3, H, W), 0 to 255
    origin: tuple[float, float]  # of the frame in the photograph, x and y
    centre: tuple[float, float]
    shift: tuple[float, float]
    linear: tuple[float, ...]  # xx, xy, yx, yy
    waves: tuple[tuple[float, float, float, float], ...]  # of x and of y: height, radians a pixel along x and y, phase
    speed_before: float  # of the previous step over that of the next one
    outline: tuple[float, ...] | None  # radius, then amplitudes and phases of its harmonics; None: everywhere

    def motion(self, points: Tensor) -> Tensor:
        """Motion w at points (..., 2) of the current frame."""
        x, y = points.unbind(-1)
        away = x - self.centre[0], y - self.centre[1]
        parts = []
        for axis, (height, along_x, along_y, phase) in enumerate(self.waves):
            bent = self.linear[2 * axis] * away[0] + self.linear[2 * axis + 1] * away[1]
            parts.append(self.shift[axis] + bent + height * torch.sin(along_x * x + along_y * y + phase))
        return torch.stack(parts, -1)

    def source(self, points: Tensor, step: int) -> Tensor:
        """Where in the current frame lies what is at `points` one step later (1) or before (-1)."""
        speed = step * (self.speed_before if step < 0 else 1.0)
        found = points
        for _ in range(_ITERATIONS if step else 0):
            found = points - speed * self.motion(found)
        return found

    def alpha(self, points: Tensor) -> Tensor:
        """1 inside, 0 outside, one pixel wide in between, (..., 1)."""
        if self.outline is None:
            return torch.ones_like(points[..., :1])
        x, y = (points[..., axis] - self.centre[axis] for axis in range(2))
        angle, radius = torch.atan2(y, x), self.outline[0]
        rim = torch.full_like(angle, radius)
        for k, (amplitude, phase) in enumerate(zip(self.outline[1:4], self.outline[4:], strict=True), 2):
            rim += radius * amplitude * torch.cos(k * angle + phase)
        return (rim - torch.hypot(x, y) + 0.5).clamp(0, 1)[..., None]

    def colours(self, points: Tensor) -> Tensor:
        """(h, w, 3) in [0, 1], bicubic; beyond its edge the photograph is mirrored."""
        height, width = self.photo.shape[1:]
        scale = [2 / max(length - 1, 1) for length in (width, height)]
        grid = torch.stack([(points[..., i] + self.origin[i]) * scale[i] - 1 for i in range(2)], -1)
        sampled = F.grid_sample(self.photo[None], grid[None], "bicubic", "reflection", align_corners=True)
        return sampled[0].permute(1, 2, 0).div(255).clamp(0, 1)


def moving_photograph(
    photo: Pixels,
    other: Pixels,
    side: int,
    generator: torch.Generator,
    largest: float = 24.0,
    unsteady: float = 0.1,
    name: str = "",
) -> Scene:
    """A scene of `side` x `side` pixels.

    Args:
        photo: the background, uint8 RGB (H, W, 3).
        other: what the things are cut from.
        side: in pixels.
        generator: what is drawn follows from it.
        largest: shifts of the layers, in pixels.
        unsteady: by how much, at most, a layer's speed before differs from that after, as a part of the latter.
        name: of the scene.
    """
    uniform = _uniform(generator)
    count = 1 + int(uniform(0, THINGS))
    layers = [_layer(photo, side, largest, unsteady, uniform, thing=False)]
    layers += [_layer(other, side, largest, unsteady, uniform, thing=True) for _ in range(count)]
    line = torch.arange(side, dtype=torch.float32)
    points = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    previous, current, following = (_frame(layers, points, step, generator, uniform) for step in (-1, 0, 1))
    flow, hidden = _truth(layers, points)
    return Scene(name, previous, current, following, flow.numpy(), hidden.numpy())


def _truth(layers: list[_Layer], points: Tensor) -> tuple[Tensor, Tensor]:
    """Flow (h, w, 2) of what is in front at each point, and where the next frame hides it."""
    front = torch.zeros(points.shape[:2], dtype=torch.long)
    for number, layer in enumerate(layers):
        front[layer.alpha(points)[..., 0] > 0.5] = number
    flow = torch.stack([layer.motion(points) for layer in layers])
    flow = flow.gather(0, front[None, ..., None].expand(1, -1, -1, 2))[0]
    ends = points + flow
    side = len(points)
    hidden = ((ends < 0) | (ends > side - 1)).any(-1)
    for number, layer in enumerate(layers):
        hidden |= (front < number) & (layer.alpha(layer.source(ends, 1))[..., 0] > 0.5)
    return flow, hidden


def _frame(
    layers: list[_Layer], points: Tensor, step: int, generator: torch.Generator, uniform: Callable[..., float]
) -> Pixels:
    image = torch.zeros(*points.shape[:2], 3)
    for layer in layers:
        places = layer.source(points, step)
        image = torch.lerp(image, layer.colours(places), layer.alpha(places))
    image = image * uniform(1 - _GAIN, 1 + _GAIN) + uniform(-_SHIFT, _SHIFT)
    image = image + uniform(0, _NOISE) * torch.randn(image.shape, generator=generator)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _layer(
    photo: Pixels, side: int, largest: float, unsteady: float, uniform: Callable[..., float], thing: bool
) -> _Layer:
    waves = []
    for _ in range(2):
        turn, length = uniform(0, 2 * math.pi), uniform(0.7, 2.0) * side
        along = 2 * math.pi / length
        phase = uniform(0, 2 * math.pi)
        waves.append((uniform(0, _WAVE) / along, along * math.cos(turn), along * math.sin(turn), phase))
    direction, distance = uniform(0, 2 * math.pi), largest * math.sqrt(uniform(0, 1))
    outline = None
    if thing:
        bumps = [uniform(0, 0.5 / (k + 1)) for k in range(3)]
        outline = (uniform(_SMALL, _LARGE) * side, *bumps, *(uniform(0, 2 * math.pi) for _ in range(3)))
    part, origin = _part(photo, side, math.ceil(1.1 * largest + 0.2 * side), uniform)
    return _Layer(
        photo=part,
        origin=origin,
        centre=(uniform(0, side), uniform(0, side)) if thing else (side / 2, side / 2),
        shift=(distance * math.cos(direction), distance * math.sin(direction)),
        linear=tuple(uniform(-_BEND, _BEND) / 2 for _ in range(4)),
        waves=tuple(waves),
        speed_before=1 + uniform(-unsteady, unsteady),
        outline=outline,
    )


def _part(photo: Pixels, side: int, reach: int, uniform: Callable[..., float]) -> tuple[Tensor, tuple[float, float]]:
    """A window of the photograph and as much around it as motion may fetch, and the window's place in that."""
    starts = [uniform(0, max(0, length - side)) for length in photo.shape[1::-1]]
    left, top = (max(0, int(start) - reach) for start in starts)
    pixels = photo[top : int(starts[1]) + side + reach, left : int(starts[0]) + side + reach]
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float(), (starts[0] - left, starts[1] - top)


def _uniform(generator: torch.Generator) -> Callable[[float, float], float]:
    """Numbers between two bounds."""

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))

    return draw
