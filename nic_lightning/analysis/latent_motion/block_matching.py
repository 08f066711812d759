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
_PLACES = 1024
_STRIDE = LANES * (_PLACES + 1)
"""Of running sums, of so many places at a time: a constant, so that the compiler sees that they do not overlap."""


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
    """Each row of blocks at every displacement; the sums down the columns of each go on from row to row.

    Two displacements along y are compared at once, as three groups are. Functions get whole arrays and where to begin:
    views would be counted, which takes as long as the sums.
    """
    channels, height, n = a.shape
    groups, many = outside.shape
    side, reach, line = 2 * radius + 1, block // 2, groups * n
    a, b, outside = a.reshape(a.size), b.reshape(b.size), outside.reshape(outside.size)
    columns = np.zeros((side + 1) * line, np.int32)  # the last ones are the partner of the last displacement
    sums = np.zeros(2 * GROUPS * _STRIDE, np.int32)
    best, found = np.empty(many, np.int32), np.zeros(many, np.int32)
    for y in range(height):
        best[:] = _WORST
        for dy in range(-radius, radius + 1, 2):
            start = (dy + radius) * line
            upper = _sum_columns(a, b, columns, start, y, dy, channels, height, groups, n, block)
            lower = dy < radius and _sum_columns(
                a, b, columns, start + line, y, dy + 1, channels, height, groups, n, block
            )
            for g in range(0, groups if upper or lower else 0, GROUPS):
                for at in range(0, many, LANES * _PLACES):
                    first, second = start + g * n + at, start + line + g * n + at
                    for i in range(GROUPS):
                        _begin(columns, first + i * n, sums, i * _STRIDE, block - 1)
                        _begin(columns, second + i * n, sums, (GROUPS + i) * _STRIDE, block - 1)
                    number = np.int32((dy + radius) * side + LANES * g)
                    _keep_better(
                        sums, columns, first, second, n, LANES * (block - 1), outside, g * many, many,
                        np.int32(0 if upper else _WORST), np.int32(0 if lower else _WORST), best, found, at,
                        min(LANES * _PLACES, many - at), number, np.int32(side),
                    )  # fmt: skip
        if y >= block - 1:
            _choose(best, found, side, radius, field[y - reach, reach : reach + many // LANES])


@njit(cache=True, nogil=True)
def _sum_columns(a, b, columns, start, y, dy, channels, height, groups, n, block):  # pragma: no cover
    """Row y enters the sums of a displacement; whether they are of a whole block."""
    rows = y - max(0, -dy)  # before this one, whose partners are in `b`
    if rows < 0 or y + dy >= height or height - abs(dy) < block:
        return False
    line = groups * n
    for c in range(channels):
        for g in range(groups):
            at, partner, column = (c * height + y) * n, (c * height + y + dy) * line + g * n, start + g * n
            if rows < block:
                _enter(a, at, b, partner, columns, column, n)
            else:
                _move(a, at, at - block * n, b, partner, partner - block * line, columns, column, n)
    return rows >= block - 1


@njit(cache=True, nogil=True)
def _enter(a, at, b, partner, columns, column, n):  # pragma: no cover
    """Add the squared differences of a row."""
    at, partner, column = np.uintp(at), np.uintp(partner), np.uintp(column)
    for k in range(np.uintp(n)):
        difference = np.int32(a[at + k]) - np.int32(b[partner + k])
        columns[column + k] += difference * difference


@njit(cache=True, nogil=True)
def _move(a, at, old, b, partner, old_partner, columns, column, n):  # pragma: no cover
    """Add those of a row, and take away those of the row that leaves the block."""
    at, old, column = np.uintp(at), np.uintp(old), np.uintp(column)
    partner, old_partner = np.uintp(partner), np.uintp(old_partner)
    for k in range(np.uintp(n)):
        new = np.int32(np.int16(a[at + k] - b[partner + k]))  # at most 4095
        past = np.int32(np.int16(a[old + k] - b[old_partner + k]))
        columns[column + k] += np.int32(new * new) - np.int32(past * past)


@njit(cache=True, nogil=True)
def _begin(columns, column, sums, start, count):  # pragma: no cover
    """sums[start + lane]: of the first block without its last column.

    The lanes are written out: in registers, of which one instruction adds all. A loop over lanes takes 7 times as long.
    """
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.int32(0)
    for x in range(np.uintp(count)):
        k = np.uintp(column) + np.uintp(LANES) * x
        s0 += columns[k]
        s1 += columns[k + np.uintp(1)]
        s2 += columns[k + np.uintp(2)]
        s3 += columns[k + np.uintp(3)]
        s4 += columns[k + np.uintp(4)]
        s5 += columns[k + np.uintp(5)]
        s6 += columns[k + np.uintp(6)]
        s7 += columns[k + np.uintp(7)]
    sums[start], sums[start + 1], sums[start + 2], sums[start + 3] = s0, s1, s2, s3
    sums[start + 4], sums[start + 5], sums[start + 6], sums[start + 7] = s4, s5, s6, s7


@njit(cache=True, nogil=True)
def _keep_better(  # pragma: no cover
    sums, columns, first, second, n, last, outside, mask, many, hide_first, hide_second, best, found, at, count, number,
    side,
):  # fmt: skip
    """sums[k]: of a block without its last column, from the place before it; what is better is kept.

    Three groups of each of two displacements in one loop, written out, since it is vectorised so: their running sums do
    not wait for one another.
    """
    n, last, many, at = np.uintp(n), np.uintp(last), np.uintp(many), np.uintp(at)
    a0, b0, mask0 = np.uintp(first), np.uintp(second), np.uintp(mask) + at
    a1, b1, mask1 = a0 + n, b0 + n, mask0 + many
    a2, b2, mask2 = a1 + n, b1 + n, mask1 + many
    following, s1, s2, s3 = np.uintp(LANES), np.uintp(_STRIDE), np.uintp(2 * _STRIDE), np.uintp(3 * _STRIDE)
    s4, s5 = np.uintp(4 * _STRIDE), np.uintp(5 * _STRIDE)
    number1, number2 = np.int32(number + np.int32(LANES)), np.int32(number + np.int32(2 * LANES))
    number3, number4, number5 = np.int32(number + side), np.int32(number1 + side), np.int32(number2 + side)
    for k in range(np.uintp(count)):
        total0 = np.int32(sums[k] + columns[a0 + last + k])
        total1 = np.int32(sums[k + s1] + columns[a1 + last + k])
        total2 = np.int32(sums[k + s2] + columns[a2 + last + k])
        total3 = np.int32(sums[k + s3] + columns[b0 + last + k])
        total4 = np.int32(sums[k + s4] + columns[b1 + last + k])
        total5 = np.int32(sums[k + s5] + columns[b2 + last + k])
        sums[k + following] = total0 - columns[a0 + k]
        sums[k + following + s1] = total1 - columns[a1 + k]
        sums[k + following + s2] = total2 - columns[a2 + k]
        sums[k + following + s3] = total3 - columns[b0 + k]
        sums[k + following + s4] = total4 - columns[b1 + k]
        sums[k + following + s5] = total5 - columns[b2 + k]
        least, which = np.int32(total0 | outside[mask0 + k] | hide_first), number
        other = np.int32(total1 | outside[mask1 + k] | hide_first)
        which = number1 if other < least else which
        least = other if other < least else least
        other = np.int32(total2 | outside[mask2 + k] | hide_first)
        which = number2 if other < least else which
        least = other if other < least else least
        other = np.int32(total3 | outside[mask0 + k] | hide_second)
        which = number3 if other < least else which
        least = other if other < least else least
        other = np.int32(total4 | outside[mask1 + k] | hide_second)
        which = number4 if other < least else which
        least = other if other < least else least
        other = np.int32(total5 | outside[mask2 + k] | hide_second)
        which = number5 if other < least else which
        least = other if other < least else least
        kept = best[at + k]
        found[at + k] = which if least < kept else found[at + k]
        best[at + k] = least if least < kept else kept


@njit(cache=True, nogil=True)
def _choose(best, found, side, radius, vectors):  # pragma: no cover
    """The best of the lanes of each place of a row; among equal ones the first displacement.

    Sum and displacement are one number, of which the least is both: branches here would be guessed wrong.
    """
    for x in range(np.uintp(len(vectors))):
        k = np.uintp(LANES) * x
        least = np.int64(best[k]) << 32 | np.int64(found[k])
        for lane in range(np.uintp(1), np.uintp(LANES)):
            other = np.int64(best[k + lane]) << 32 | np.int64(found[k + lane] + np.int32(lane))
            least = other if other < least else least
        if least >> 32 < _WORST:
            number = np.int32(least & _WORST)
            row = number // np.int32(side)
            vectors[x, 0], vectors[x, 1] = number - row * side - radius, row - radius
