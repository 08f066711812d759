"""Dense flow from sparse matches, by OpenCV's interpolators, with their traps avoided.

"ric": robust interpolation of correspondences (Hu, Li, Song 2017). "edge_aware": locally affine models over an
edge-aware distance, after EpicFlow (Revaud et al. 2015). Edges are the image's own gradients: models of structured
edges are not available.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

METHODS = ("ric", "edge_aware")
FEWEST, SMALLEST = 500, 16
"""Matches, and pixels of the shorter side. Below them OpenCV's interpolators read memory that nobody wrote, and may end
the process; each pixel takes its nearest match instead."""
SUPPORT = (150, 100, 64, 32)
"""Matches that a model of RIC is fitted to. OpenCV collects 150 over the graph of every match's nearest 32, and where
a clump of fewer has no way out, fills up with what lies in memory before the first match. With as many neighbours as
matches to collect there is always a way. Too few places for so many neighbours are an error; then fewer are tried."""
MOST = 32_766
"""The edge-aware interpolator counts matches in 16 bits."""
JITTER = 0.02
"""Pixels. The edge-aware interpolator takes the residual of matches for its tolerance and, where they agree to the
last bit, as whole numbers do, finds no inlier and gives zero. More than the float32 noise of coordinates is needed."""
MARGIN = 2 * JITTER
"""Pixels by which interpolated flow may leave the range of the matches, and half that range besides."""

Flow = NDArray[np.float32]
Image = NDArray[Any]


def interpolate(
    image1: Image, image2: Image, matches: NDArray[Any], method: str = "ric", *, neighbours: int = 128, seed: int = 0
) -> Flow:
    """Flow (H, W, 2) in pixels at every pixel of `image1`; the same input gives the same flow.

    A pixel where the interpolator fails or leaves the matches' range (`MARGIN`) takes the value of its nearest match.

    Args:
        image1: reference frame, RGB (H, W, 3), uint8 or float in [0, 1].
        image2: the next frame, of the same size.
        matches: (n, 4) x, y, x', y' in pixels; without any match the flow is zero, and a warning says so.
        method: one of METHODS.
        neighbours: of "edge_aware", matches that each affine model is fitted to.
        seed: of the jitter and of the choice among more than `MOST` matches, "edge_aware" only.

    Raises:
        ValueError: no such method, or matches that are no finite (n, 4).
    """
    if method not in METHODS:
        raise ValueError(f"Matches are interpolated by one of {', '.join(METHODS)}, not by {method!r}.")
    points = np.asarray(matches, np.float32)
    if points.ndim != 2 or points.shape[1] != 4 or not np.isfinite(points).all():
        raise ValueError(f"Matches are finite numbers (n, 4), not an array {points.shape}.")
    height, width = image1.shape[:2]
    if not len(points):
        log.warning("There is no match to interpolate from: the flow is zero.")
        return np.zeros((height, width, 2), np.float32)
    if len(points) < FEWEST or min(height, width) < SMALLEST:
        return _nearest(points, np.ones((height, width), np.bool_))
    if method == "ric":
        flow = _ric(image1, image2, points)
        if flow is None:
            return _nearest(points, np.ones((height, width), np.bool_))
    else:
        flow = _edge_aware(image1, image2, points, neighbours, np.random.default_rng(seed))
    return _within_range(flow, points)


def _ric(image1: Image, image2: Image, points: Flow) -> Flow | None:
    """On one thread: on several, OpenCV's propagates models in an order of the moment. None where it gives up."""
    import cv2

    frames = to_bytes(image1), to_bytes(image2)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for support in SUPPORT:
            interpolator = cv2.ximgproc.createRICInterpolator()
            interpolator.setMaxFlow(float(np.linalg.norm(image1.shape[:2])))
            interpolator.setK(support)
            interpolator.setSuperpixelNNCnt(support)
            with suppress(cv2.error):
                flow = interpolator.interpolate(frames[0], points[:, :2], frames[1], points[:, 2:])
                return np.asarray(flow, np.float32)
    finally:
        cv2.setNumThreads(threads)
    return None


def _edge_aware(image1: Image, image2: Image, points: Flow, neighbours: int, random: np.random.Generator) -> Flow:
    import cv2

    if len(points) > MOST:
        points = points[np.sort(random.choice(len(points), MOST, replace=False))]
    there = points[:, 2:] + random.uniform(-JITTER, JITTER, (len(points), 2)).astype(np.float32)
    interpolator = cv2.ximgproc.createEdgeAwareInterpolator()
    interpolator.setK(min(neighbours, FEWEST - 1))
    flow = interpolator.interpolate(to_bytes(image1), points[:, :2], to_bytes(image2), there)
    return np.asarray(flow, np.float32)


def _within_range(flow: Flow, points: Flow) -> Flow:
    moves = points[:, 2:] - points[:, :2]
    low, high = moves.min(0), moves.max(0)
    margin = MARGIN + (high - low) / 2
    with np.errstate(invalid="ignore"):
        wrong = ~((flow >= low - margin) & (flow <= high + margin)).all(-1)
    return np.where(wrong[..., None], _nearest(points, wrong), flow) if wrong.any() else flow


def _nearest(points: Flow, where: NDArray[np.bool_]) -> Flow:
    """The nearest match's motion at the pixels of `where`, zero at the others."""
    from scipy.spatial import KDTree

    y, x = np.nonzero(where)
    _, found = KDTree(points[:, :2]).query(np.stack([x, y], -1))
    flow = np.zeros((*where.shape, 2), np.float32)
    flow[y, x] = (points[:, 2:] - points[:, :2])[found]
    return flow


def to_bytes(image: Image) -> NDArray[np.uint8]:
    """An image in 8 bits, rounded, contiguous."""
    if image.dtype != np.uint8:
        image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(image)
