"""The triple cost: one volume from the previous, the current and the following frame (thesis section 5.4, Eq. 5.5-5.8).

    C(p, v) = l1 * C_fr(p, v) + l2 * C_bk(p, -v) + l3 * min(C_fr(p, v), C_bk(p, -v))

C_fr compares frame t with t+1, C_bk with t-1: what t+1 hides, t-1 often shows. Where a frame is missing, at the ends of
a sequence, the other cost stands alone: a repeated frame would match itself without motion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nic_lightning.errors import UserError
from nic_lightning.flow.cost_volume import OUTSIDE, match

Lambdas = tuple[float, float, float]
Match = Callable[..., Any]
TWO_FRAMES: Lambdas = (1.0, 0.0, 0.0)
MINIMUM: Lambdas = (0.0, 0.0, 1.0)  # the thesis' best, section 5.6.1


def weighting_table(lambdas: Lambdas) -> np.ndarray:
    """Eq. 5.8 for all pairs of costs: table[forward, backward], (256, 256) uint8, rounded, at most 255."""
    if len(lambdas) != 3 or any(not math.isfinite(weight) or weight < 0 for weight in lambdas) or not any(lambdas):
        raise UserError(f"The weights of the triple cost are three numbers >= 0, not all 0, but {lambdas} was given.")
    forward, backward = np.meshgrid(np.arange(256.0), np.arange(256.0), indexing="ij")
    costs = lambdas[0] * forward + lambdas[1] * backward + lambdas[2] * np.minimum(forward, backward)
    return np.floor(np.minimum(costs, 255) + 0.5).astype(np.uint8)


def backward_costs(
    previous: Any, current: Any, radius: int, out: Any, outside: int = OUTSIDE, match: Match = match
) -> Any:
    """C_bk(p, -v) of the pixels of `current`, at [p, v]; `match` is that of numba, or of other kernels."""
    return match(previous, current, radius, reverse=out, outside=outside)


def add_forward(
    backward: Any,
    current: Any,
    following: Any,
    lambdas: Lambdas,
    reverse: Any = None,
    outside: int = OUTSIDE,
    match: Match = match,
) -> Any:
    """Turn `backward`, of `backward_costs`, into the triple cost in place; `reverse` as in `match`."""
    radius = backward.shape[2] // 2
    return match(current, following, radius, backward, reverse, weighting_table(lambdas).T, outside=outside)


def combine(forward: np.ndarray, backward: np.ndarray, lambdas: Lambdas) -> np.ndarray:
    """Turn `forward`, costs C_fr(p, v), into the triple cost in place; `backward` holds C_bk(p, v)."""
    table = weighting_table(lambdas)
    for costs, others in zip(forward, backward, strict=True):
        costs[:] = table[costs, others[:, ::-1, ::-1]]
    return forward


def triple_cost_volume(
    previous: Any,
    current: Any,
    following: Any,
    radius: int,
    lambdas: Lambdas = MINIMUM,
    out: Any = None,
    outside: int = OUTSIDE,
    match: Match = match,
) -> Any:
    """Volume of the current frame, (h, w, n, n) uint8, from (h, w, 64) features, of which one may be missing.

    The border is not mirrored yet. Weights (1, 0, 0) give the two-frame volume, to the bit.
    """
    n = 2 * radius + 1
    out = np.empty((*current.shape[:2], n, n), np.uint8) if out is None else out
    if previous is not None and following is not None and tuple(lambdas) != TWO_FRAMES:
        backward_costs(previous, current, radius, out, outside, match)
        return add_forward(out, current, following, lambdas, outside=outside, match=match)
    if following is not None:
        return match(current, following, radius, out, outside=outside)
    if previous is None:
        raise ValueError("One frame alone has no motion: give the previous or the following one, or both.")
    return backward_costs(previous, current, radius, out, outside, match)
