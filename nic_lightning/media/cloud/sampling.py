"""Points of a surface, and clouds as codecs take them: centred, in the unit sphere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nic_lightning.media.cloud.shape import Floats, Refused, Shape

SAMPLED = 2048
"""Points that a mesh is sampled at unless another number is asked for, as in ModelNet's point clouds."""


def sample_surface(shape: Shape, count: int, seed: int) -> Floats:
    """`count` points (count, 3), float64, uniformly distributed over a mesh's area; all follow from the seed.

    Raises Refused for corners that are no vertices, and for a mesh without area.
    """
    triangles = shape.triangles
    assert triangles is not None
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(shape.points):
        raise Refused("a face has a corner that is none of its vertices")
    corners = shape.points[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(first, second), axis=1)
    total = np.cumsum(area)
    if not len(total) or not 0 < total[-1] < np.inf:
        raise Refused("its faces have no area that points could be sampled on")
    draw = np.random.default_rng(seed)
    chosen = np.searchsorted(total, draw.random(count) * total[-1], side="right").clip(max=len(total) - 1)
    # The root makes the density equal over a triangle: its width grows with the distance from the corner.
    along, across = np.sqrt(draw.random(count)), draw.random(count)
    return (
        corners[chosen, 0]
        + (along * (1 - across))[:, None] * first[chosen]
        + (along * across)[:, None] * second[chosen]
    )


def normalised(points: Floats) -> np.ndarray:
    """Points with their mean in the origin and the farthest at distance 1, float32 (P, 3).

    Raises Refused for no points, values that are not finite, and points that are all in one place.
    """
    if not len(points):
        raise Refused("it has no points")
    if not np.isfinite(points).all():
        raise Refused("it has coordinates that are NaN or infinite")
    with np.errstate(over="ignore", invalid="ignore"):
        centred = points - points.mean(axis=0)
        reach = np.sqrt((centred**2).sum(axis=1).max())
    if not 0 < reach < np.inf:
        raise Refused(
            "its points are all in one place, or too far apart for numbers" if len(points) > 1 else "one point"
        )
    return (centred / reach).astype(np.float32)


def fixed_subset(points: np.ndarray, count: int) -> np.ndarray:
    """`count` of the points (P, 3) of a larger cloud, the same whatever their order and however often each is there.

    Smaller clouds stay as they are.
    """
    if len(points) <= count:
        return points
    different = _different(points)
    if len(different) <= count:
        return different
    return different[_chosen(len(different), count)]


def _different(points: np.ndarray) -> np.ndarray:
    """`np.unique(points, axis=0)`, sooner where no two points share their first coordinate."""
    ordered = points[np.argsort(points[:, 0])]
    first = ordered[:, 0]
    return ordered if (first[1:] > first[:-1]).all() else np.unique(points, axis=0)


@lru_cache(maxsize=4)
def _chosen(different: int, count: int) -> np.ndarray:
    """Which `count` of so many points are taken, in ascending order."""
    return np.sort(np.random.default_rng(0).permutation(different)[:count])
