"""Flow as pictures: the colour wheel of Baker et al. (IJCV 2011), maps of errors, warped frames. No torch needed."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_ARCS = {"RY": 15, "YG": 6, "GC": 4, "CB": 11, "BM": 13, "MR": 6}
"""How many colours lead from each primary or secondary colour to the next."""
_COLOURS = {"R": (1, 0, 0), "Y": (1, 1, 0), "G": (0, 1, 0), "C": (0, 1, 1), "B": (0, 0, 1), "M": (1, 0, 1)}
ERROR_LIMIT = 10.0
"""Pixels of error at the bright end of a map."""


def to_colours(flow: NDArray[Any], largest: float | None = None) -> Pixels:
    """RGB (H, W, 3): hue is direction, colour fades to white where nothing moves; unknown flow is black.

    Args:
        flow: (H, W, 2) in pixels, NaN where unknown.
        largest: motion in pixels with full colour, beyond which colours darken; None: the flow's largest.
    """
    known = np.isfinite(flow).all(-1)
    motion = np.where(known[..., None], flow, 0).astype(np.float64)
    speed = np.linalg.norm(motion, axis=-1)
    scale = largest if largest is not None else float(speed.max(initial=0.0))
    speed /= max(scale, 1e-9)
    wheel = _wheel()
    place = (np.arctan2(-motion[..., 1], -motion[..., 0]) / np.pi + 1) / 2 * (len(wheel) - 1)
    below = np.floor(place).astype(np.int64)
    share = (place - below)[..., None]
    hue = (1 - share) * wheel[below] + share * wheel[(below + 1) % len(wheel)]
    inside = np.minimum(speed, 1)[..., None]
    colour = np.where(speed[..., None] <= 1 + 1e-9, 1 - inside * (1 - hue), 0.75 * hue)
    return (255 * colour * known[..., None]).astype(np.uint8)


def error_map(flow: NDArray[Any], truth: NDArray[Any], limit: float = ERROR_LIMIT) -> Pixels:
    """RGB (H, W, 3) of the end-point error, from black to bright at `limit` pixels; grey where one flow is unknown."""
    import cv2

    error = np.linalg.norm(flow.astype(np.float64) - truth, axis=-1)
    level = np.nan_to_num(255 * np.minimum(error / limit, 1)).astype(np.uint8)
    colours = np.array(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)
    colours[~np.isfinite(error)] = 128
    return colours


def warp(following: NDArray[Any], flow: NDArray[Any]) -> Pixels:
    """The next frame (H, W, 3) fetched along the flow, which looks like the current; black where that is unknown."""
    import cv2

    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    known = np.isfinite(flow).all(-1)
    there = np.where(known[..., None], flow, -1e6).astype(np.float32)
    return np.asarray(cv2.remap(following, x + there[..., 0], y + there[..., 1], cv2.INTER_LINEAR), np.uint8)


def to_png(picture: Pixels) -> bytes:
    """The picture (H, W, 3) as a PNG file."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return data.getvalue()


@cache
def _wheel() -> NDArray[np.float64]:
    """55 colours (55, 3) in [0, 1], from red through yellow, green, cyan, blue and magenta."""
    ends = [(np.array(_COLOURS[arc[0]]), np.array(_COLOURS[arc[1]]), count) for arc, count in _ARCS.items()]
    return np.concatenate([np.linspace(start, end, count, endpoint=False) for start, end, count in ends])
