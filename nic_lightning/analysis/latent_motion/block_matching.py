"""Motion by exhaustive block matching: the sum of squared differences, every displacement, every pixel."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nic_lightning.errors import UserError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LEVELS = 4095
"""Steps into which the range of a tensor is cut, at most: twelve bits, where the sums of a block fit 32 bits."""
LOW_VARIANCE = 0.1
"""Channels whose standard deviation is below that part of the largest one's are nearly dead: they match anywhere."""


def match_blocks(
    first: NDArray[np.floating], second: NDArray[np.floating], block: int = 31, radius: int = 11
) -> NDArray[np.float32]:
    """Displacement of the block around each pixel of `first` to the block of `second` that differs least.

    The values are rounded to at most 4096 steps of their common range, so that sums are exact and ties are ties. Among
    equal sums the first displacement wins, in the order of rows, then columns, from the upper left. Displacements whose
    block does not lie in the frame are left out. For each displacement, squared differences are shifted once and summed
    by running sums, so the time hardly depends on the size of the block.

    Args:
        first: (h, w), or (C, h, w), of which the differences of all channels are summed.
        second: the same shape.
        block: side of the blocks in samples, odd. The paper has 31 for frames, 3 for tensors.
        radius: largest displacement along each axis, in samples. The paper has 11 for frames, 5 for tensors.

    Returns:
        (h, w, 2): x to the right, y down, in samples; NaN along the border, where the block leaves the frame.

    Raises:
        UserError: shapes differ, a block is even, or larger than the frame.
    """
    a, b = quantised(first, second, block)
    height, width = a.shape[1:]
    if block % 2 == 0 or block < 1 or radius < 0:
        raise UserError(f"Blocks of {block} samples and a search of +-{radius}: give an odd side, and 0 or more.")
    if block > min(height, width):
        raise UserError(f"Blocks of {block}x{block} samples do not fit into {width}x{height}; give a smaller block.")
    best = np.full((height, width), np.iinfo(np.int32).max, np.int32)
    found = np.zeros((height, width), np.int32)
    _match(a, b, block, radius, best, found)
    side = 2 * radius + 1
    field = np.stack([found % side - radius, found // side - radius], -1).astype(np.float32)
    field[best == np.iinfo(np.int32).max] = np.nan
    return field


def quantised(first: NDArray, second: NDArray, block: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both as (C, h, w) int32 steps of their common range, with which sums over a block of all channels fit int32."""
    first, second = (np.asarray(one, np.float64) for one in (first, second))
    if first.shape != second.shape or first.ndim not in (2, 3) or not first.size:
        raise UserError(f"Blocks of {first.shape} and {second.shape} cannot be matched: shapes have to be equal.")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise UserError("Blocks cannot be matched where values are not finite.")
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    channels = 1 if first.ndim == 2 else len(first)
    levels = min(LEVELS, math.isqrt((2**31 - 2) // (channels * block * block)))
    scale = levels / (high - low) if high > low else 0.0
    steps = [
        np.rint((one - low) * scale).astype(np.int32).reshape(channels, *one.shape[-2:]) for one in (first, second)
    ]
    return steps[0], steps[1]


def lively(channels: NDArray[np.floating], low: float = LOW_VARIANCE) -> NDArray[np.intp]:
    """Numbers of the channels (C, h, w) whose standard deviation is at least `low` times the largest one's."""
    spread = channels.reshape(len(channels), -1).std(1)
    return np.flatnonzero((spread >= low * spread.max()) & (spread > 0))


def match_tensors(
    first: NDArray[np.floating], second: NDArray[np.floating], block: int = 3, radius: int = 5
) -> NDArray[np.float32]:
    """`match_blocks` of two tensors (C, h, w) over all their lively channels together.

    Raises:
        UserError: no channel varies, and what `match_blocks` raises.
    """
    kept = lively(first)
    if not len(kept):
        raise UserError("All channels of the tensor are constant: no block of it can be matched.")
    return match_blocks(first[kept], second[kept], block, radius)


def luma(frame: NDArray[np.floating]) -> NDArray[np.float32]:
    """Grey (H, W) of RGB (3, H, W)."""
    return np.tensordot(LUMA, frame.astype(np.float32), 1)


@njit(cache=True, nogil=True)
def _match(a, b, block, radius, best, found):  # pragma: no cover
    """Sums down the columns are kept as the block goes down, sums along a row are made by doubling.

    So all work is loops over rows of int32, which vectorise; unsigned indices save the test whether one is below 0.
    """
    _, height, width = a.shape
    reach, levels = block // 2, 1
    while 1 << levels <= block:
        levels += 1
    squares = np.zeros((block, width), np.int32)  # of the rows of a block, in turns
    sums, total = np.zeros((levels, width), np.int32), np.zeros(width, np.int32)
    for dy in range(-radius, radius + 1):
        top, bottom = max(0, -dy), min(height, height - dy)  # rows of `a` whose partner is in `b`
        for dx in range(-radius, radius + 1):
            left, right = max(0, -dx), min(width, width - dx)
            if bottom - top < block or right - left < block:
                continue
            squares[:], sums[:] = 0, 0
            number = np.int32((dy + radius) * (2 * radius + 1) + dx + radius)
            for y in range(top, bottom):
                slot = np.uintp((y - top) % block)
                places = np.uintp(y), np.uintp(y + dy), np.uintp(left), np.uintp(left + dx)
                _take_row(a, b, places, np.uintp(right - left), squares, slot, sums)
                if y - top >= block - 1:
                    _sum_along(sums, total, np.uintp(right - left), np.uintp(block))
                    corner = np.uintp(y - reach), np.uintp(left + reach)
                    _keep_better(total, best, found, corner, np.uintp(right - left - block + 1), number)


@njit(cache=True, nogil=True)
def _take_row(a, b, places, n, squares, slot, sums):  # pragma: no cover
    """Put the squared differences of a row in the place of those of the row that leaves the block."""
    ya, yb, xa, xb = places
    for x in range(n):
        difference = a[0, ya, x + xa] - b[0, yb, x + xb]
        square = difference * difference
        sums[0, x] += square - squares[slot, x]
        squares[slot, x] = square
    for c in range(np.uintp(1), np.uintp(len(a))):
        for x in range(n):
            difference = a[c, ya, x + xa] - b[c, yb, x + xb]
            square = difference * difference
            sums[0, x] += square
            squares[slot, x] += square


@njit(cache=True, nogil=True)
def _sum_along(sums, total, n, block):  # pragma: no cover
    """total[x] = sum of sums[0, x : x + block]; sums[k, x] become those of 2^k values."""
    one = np.uintp(1)
    many, level, size, place = n - block + one, np.uintp(0), one, np.uintp(0)
    while size <= block:
        if block & size and place == 0:
            for x in range(many):
                total[x] = sums[level, x]
        elif block & size:
            for x in range(many):
                total[x] += sums[level, x + place]
        place += block & size
        if size + size <= block:
            for x in range(n - size - size + one):
                sums[level + one, x] = sums[level, x] + sums[level, x + size]
        level += one
        size += size


@njit(cache=True, nogil=True)
def _keep_better(total, best, found, corner, many, number):  # pragma: no cover
    y, left = corner
    for x in range(many):
        better = total[x] < best[y, x + left]
        best[y, x + left] = total[x] if better else best[y, x + left]
        found[y, x + left] = number if better else found[y, x + left]
