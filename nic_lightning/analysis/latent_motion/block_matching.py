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
    block does not lie in the frame are left out. Sums of blocks are running sums, down and along, so the time does not
    depend on the size of the block.

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
    field = np.full((height, width, 2), np.nan, np.float32)
    _match(*_laid_out(a, b, radius), _outside(width, block, radius), block, radius, field)
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


LANES, GROUPS = 8, 3
"""Displacements along a row that are side by side in memory, one vector instruction wide, and groups of them at once.

Running sums along a row depend on the one before, but those of different displacements do not: so the innermost loops
go over displacements. All rows are flat, place k = 8 x + lane, and the value before lies 8 places back.
"""
_WORST = np.iinfo(np.int32).max


@njit(cache=True, nogil=True)
def _laid_out(a, b, radius):  # pragma: no cover
    """(C, h, 8 w), each value of `a` 8 times; and (C, h, groups, 8 w), `b` at the group's displacements, else 0."""
    channels, height, width = a.shape
    groups = GROUPS * -(-(2 * radius + 1) // (LANES * GROUPS))
    spread = np.empty((channels, height, LANES * width), np.int16)
    moved = np.zeros((channels, height, groups, LANES * width), np.int16)
    row = np.zeros(width + LANES * groups, np.int16)  # `radius` zeros, then the row
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                row[x + radius] = b[c, y, x]
                for lane in range(LANES):
                    spread[c, y, LANES * x + lane] = a[c, y, x]
            for g in range(groups):
                for x in range(width):
                    for lane in range(LANES):
                        moved[c, y, g, LANES * x + lane] = row[x + LANES * g + lane]
    return spread, moved


def _outside(width: int, block: int, radius: int) -> NDArray[np.int32]:
    """(groups, 8 (width - block + 1)): the largest int32 where a block's partner leaves the frame, else 0."""
    groups = GROUPS * -(-(2 * radius + 1) // (LANES * GROUPS))
    number = np.arange(LANES * groups).reshape(groups, 1, LANES)
    first = np.arange(width - block + 1)[:, None] + number - radius
    inside = (number <= 2 * radius) & (first >= 0) & (first + block <= width)
    return np.where(inside, 0, _WORST).astype(np.int32).reshape(groups, -1)


@njit(cache=True, nogil=True)
def _match(a, b, outside, block, radius, field):  # pragma: no cover
    """Sums down the columns are kept as the block goes down; `_keep_better` sums them along the row."""
    channels, height, n = a.shape
    groups, many = outside.shape
    side, reach = 2 * radius + 1, block // 2
    columns = np.zeros((groups, n), np.int32)
    sums = np.zeros((GROUPS, many + LANES), np.int32)
    best = np.full((height, many), _WORST, np.int32)
    found = np.zeros((height, many), np.int32)
    for dy in range(-radius, radius + 1):
        top, bottom = max(0, -dy), min(height, height - dy)  # rows of `a` whose partner is in `b`
        columns[:] = 0
        for y in range(top, bottom if bottom - top >= block else top):
            for g in range(groups):
                for c in range(channels):
                    if y - top < block:
                        _enter(a[c, y], b[c, y + dy, g], columns[g])
                    else:
                        _move(a[c, y], b[c, y + dy, g], a[c, y - block], b[c, y + dy - block, g], columns[g])
            for g in range(0, groups if y - top >= block - 1 else 0, GROUPS):
                for i in range(GROUPS):
                    _begin(columns[g + i], sums[i], np.uintp(block - 1))
                number, last = np.int32((dy + radius) * side + LANES * g), LANES * (block - 1)
                _keep_better(
                    sums[0], sums[1], sums[2], columns[g], columns[g + 1], columns[g + 2],
                    columns[g, last:], columns[g + 1, last:], columns[g + 2, last:],
                    outside[g], outside[g + 1], outside[g + 2], best[y - reach], found[y - reach], number,
                )  # fmt: skip
    for y in range(reach, height - reach):
        for x in range(many // LANES):
            _choose(best[y], found[y], LANES * x, side, radius, field[y, x + reach])


@njit(cache=True, nogil=True)
def _enter(a, b, column):  # pragma: no cover
    """Add the squared differences of a row."""
    for k in range(np.uintp(len(column))):
        difference = np.int32(a[k]) - np.int32(b[k])
        column[k] += difference * difference


@njit(cache=True, nogil=True)
def _move(a, b, old_a, old_b, column):  # pragma: no cover
    """Add those of a row, and take away those of the row that leaves the block."""
    for k in range(np.uintp(len(column))):
        new, old = np.int32(np.int16(a[k] - b[k])), np.int32(np.int16(old_a[k] - old_b[k]))  # at most 4095
        column[k] += np.int32(new * new) - np.int32(old * old)


@njit(cache=True, nogil=True)
def _begin(column, sums, count):  # pragma: no cover
    """sums[lane]: of the first block without its last column."""
    for lane in range(np.uintp(LANES)):
        total = np.int32(0)
        for x in range(count):
            total += column[np.uintp(LANES) * x + lane]
        sums[lane] = total


@njit(cache=True, nogil=True)
def _keep_better(  # pragma: no cover
    sums0, sums1, sums2, leaving0, leaving1, leaving2, entering0, entering1, entering2,
    outside0, outside1, outside2, best, found, number,
):  # fmt: skip
    """sums[k]: of a block without its last column, from the place before it; what is better is kept.

    Three groups in one loop, written out, since it is vectorised so: their running sums do not wait for one another.
    """
    number1, number2 = np.int32(number + np.int32(LANES)), np.int32(number + np.int32(2 * LANES))
    for k in range(np.uintp(len(best))):
        total0 = np.int32(sums0[k] + entering0[k])
        total1 = np.int32(sums1[k] + entering1[k])
        total2 = np.int32(sums2[k] + entering2[k])
        sums0[k + np.uintp(LANES)] = total0 - leaving0[k]
        sums1[k + np.uintp(LANES)] = total1 - leaving1[k]
        sums2[k + np.uintp(LANES)] = total2 - leaving2[k]
        least, which = np.int32(total0 | outside0[k]), number
        other = np.int32(total1 | outside1[k])
        which = number1 if other < least else which
        least = other if other < least else least
        other = np.int32(total2 | outside2[k])
        which = number2 if other < least else which
        least = other if other < least else least
        kept = best[k]
        found[k] = which if least < kept else found[k]
        best[k] = least if least < kept else kept


@njit(cache=True, nogil=True)
def _choose(best, found, start, side, radius, vector):  # pragma: no cover
    """The best of the lanes of a place; among equal ones the first displacement."""
    least, number = best[start], found[start]
    for lane in range(1, LANES):
        sum_, own = best[start + lane], found[start + lane] + lane
        if sum_ < least or (sum_ == least and own < number):
            least, number = sum_, own
    if least < _WORST:
        vector[0], vector[1] = number % side - radius, number // side - radius
