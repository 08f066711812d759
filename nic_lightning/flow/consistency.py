"""Which matches of a discrete flow to believe: the forward-backward check, and the thesis' four strategies.

Flows are labels: integers (h, w, 2), x to the right and y down, in pixels of the working scale. Every function gives
the mask (h, w) of what is kept.

| name | thesis, section 5.6.3 | function |
|---|---|---|
| Strategy 1 | segments of the flow, the small ones dropped | `keep_large_regions` |
| Strategy 2 | two flows of the same frame, of different cost weights | `keep_agreeing` |
| Strategy 3 | forward-backward check, looser where the previous frame matches better | `keep_by_cost` |
| Strategy 4 | forward-backward check, the backward flow from three frames too | `keep` |

`keep` with a two-frame backward flow is the check of DCFlow (Xu, Ranftl, Koltun 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]
Mask = NDArray[np.bool_]

UNIQUE = ("official", "target", "off")


def keep(forward: Labels, backward: Labels, threshold: float | NDArray[Any] = 0.8, unique: str = "official") -> Mask:
    """Forward-backward check: p stays if p + F(p) lies inside and |F(p) + B(p + F(p))|^2 <= threshold.

    The distance is squared and between integers, so 0.8 asks for exact agreement, and 3 allows a step of one label on
    each axis.

    Args:
        forward: labels from the reference frame to the other one.
        backward: labels from the other frame back.
        threshold: squared distance in labels; a number, or one for each pixel, (h, w).
        unique: how pixels are dropped that share their target with another one. "target": all pixels of such a target.
            "official": the released DCFlow's rule, which reads the counts of targets at the pixel itself: p goes when p
            is hit twice as a target. "off": none.

    Raises:
        ValueError: no such rule, or the flows differ in shape.
    """
    if unique not in UNIQUE:
        raise ValueError(f"unique is one of {', '.join(UNIQUE)}, not {unique!r}.")
    _check_shapes(forward, backward)
    height, width = forward.shape[:2]
    there = _targets(forward)
    inside = ((there >= 0) & (there < (width, height))).all(-1)
    x, y = np.where(inside[..., None], there, 0).transpose(2, 0, 1)
    kept = inside & (_squared(forward.astype(np.int64) + backward[y, x]) <= threshold)
    if unique == "off":
        return kept
    count = np.bincount((y * width + x)[inside], minlength=height * width).reshape(height, width)
    return kept & ((count if unique == "official" else count[y, x]) < 2)


def keep_by_cost(
    forward: Labels,
    backward: Labels,
    forward_cost: NDArray[Any],
    backward_cost: NDArray[Any],
    *,
    near: float = 0.8,
    far: float = 3.0,
    unique: str = "official",
) -> Mask:
    """Strategy 3: `keep` with `near` where the next frame matches better than the previous one, `far` elsewhere.

    Args:
        forward: labels from three frames.
        backward: labels from the next frame back to the reference, from two frames.
        forward_cost: matching cost (h, w) against the next frame at the winning label, C^fr(p, F(p)).
        backward_cost: the same against the previous frame, C^bk(p, -F(p)).
        near: squared distance allowed where forward_cost < backward_cost, T1 of the thesis.
        far: elsewhere, T2.
        unique: as of `keep`.
    """
    return keep(forward, backward, np.where(forward_cost < backward_cost, near, far), unique)


def keep_agreeing(first: Labels, second: Labels, threshold: float = 0.8) -> Mask:
    """Strategy 2: where two flows of the same frame are at most `threshold` apart, squared, in labels."""
    _check_shapes(first, second)
    return _squared(first.astype(np.int64) - second) <= threshold


def keep_large_regions(flow: Labels, smallest: int = 20, tolerance: int = 0) -> Mask:
    """Strategy 1: pixels of segments of at least `smallest` pixels.

    Neighbours, of which a pixel has four, are of one segment when their labels differ by at most `tolerance` on either
    axis. The thesis gives the size alone.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    height, width = flow.shape[:2]
    labels = flow.astype(np.int64)
    place = np.arange(height * width).reshape(height, width)
    right = np.abs(labels[:, 1:] - labels[:, :-1]).max(-1, initial=0) <= tolerance
    down = np.abs(labels[1:] - labels[:-1]).max(-1, initial=0) <= tolerance
    start = np.concatenate([place[:, :-1][right], place[:-1][down]])
    end = np.concatenate([place[:, 1:][right], place[1:][down]])
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(place.size, place.size))
    _, segment = connected_components(graph, directed=False)
    return (np.bincount(segment)[segment] >= smallest).reshape(height, width)


def matches(flow: Labels, kept: Mask, ratio: int) -> NDArray[np.float32]:
    """Matches (n, 4), x, y, x', y' in pixels of the full image: the centre of each kept pixel's block and its target.

    Pixel j of the working scale stands for the `ratio` pixels from ratio * j, so its centre is 3j + 1 at a third.
    """
    y, x = np.nonzero(kept)
    start = ratio * np.stack([x, y], -1) + (ratio - 1) / 2
    return np.concatenate([start, start + ratio * flow[kept].astype(np.float64)], -1).astype(np.float32)


def _targets(flow: Labels) -> NDArray[np.int64]:
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y], -1) + flow.astype(np.int64)


def _squared(difference: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.square(difference).sum(-1)


def _check_shapes(first: Labels, second: Labels) -> None:
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 2:
        raise ValueError(f"Two flows (h, w, 2) of one size are needed, not {first.shape} and {second.shape}.")
