"""Semi-global matching over two-dimensional labels along four paths (DCFlow; thesis section 5.3, Eq. 5.1-5.3).

    L(p, l) = C(p, l) + min over k of (L(q, k) + B(k, l)) - min over k of L(q, k),    q the pixel before p on the path

The label of p minimises the sum of L over the paths from left, right, above and below. Of equal sums the first label
wins, in the order of the volume: dy from -radius up, then dx. There is no step below one pixel.

Sums of 16 bits would take twice the memory of the costs, so they are made for the right half of the frame, which finds
its labels, and then for the left half in the same place. The price is half a path: from the left edge twice.

    row     sums of the right half      sums of the left half
    there   |.........|========>|       |========>|             . walked, not kept
    back              |<========| L     |<========| L           L of the right half's end goes on in the left half
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from nic_lightning.errors import UserError
from nic_lightning.flow.threads import share_threads

LARGEST_PENALTY = (65535 // 4) - 254  # four paths of costs below 255 have to fit into 16 bits
_FAR = 32767  # of labels beyond the range: more than any L, and room for a penalty


@dataclass(frozen=True)
class Potts:
    """B of DCFlow's published code: 0; `near` between labels side by side; `far` between all others.

    Across an edge, where luma differs by `edge` or more, `far` is a third. Published: near 7; far 600 for Sintel, 485
    for KITTI.
    """

    near: int = 7
    far: int = 600
    edge: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.near <= self.far <= LARGEST_PENALTY:
            raise UserError(
                f"Penalties have to satisfy 0 <= near <= far <= {LARGEST_PENALTY}, "
                f"not near={self.near}, far={self.far}."
            )


@dataclass(frozen=True)
class TruncatedL1:
    """B = slope * min(|k - l|_1, reach) of thesis Eq. 5.3, which leaves the norm and both constants open; no edges."""

    slope: int = 7
    reach: int = 20

    def __post_init__(self) -> None:
        if self.slope < 0 or self.reach < 1 or self.slope * self.reach > LARGEST_PENALTY:
            raise UserError(
                f"The truncated penalty needs slope >= 0, reach >= 1 and slope * reach <= {LARGEST_PENALTY}, "
                f"not slope={self.slope}, reach={self.reach}."
            )


def semi_global_matching(
    volume: np.ndarray,
    luma: np.ndarray,
    smoothness: Potts | TruncatedL1,
    sums: np.ndarray | None = None,
    reversed_labels: bool = False,
) -> np.ndarray:
    """Displacements of least energy.

    Args:
        volume: (h, w, n, n) uint8 costs of `cost_volume`.
        luma: (h, w) float32 in [0, 1], of the frame whose pixels the volume is of.
        smoothness: the pairwise term.
        sums: working space of `sums_shape(volume.shape)`, uint16; its content is lost.
        reversed_labels: the labels are motions towards this frame, as `cost_volume.match(reverse=...)` has them;
            the labels are negated, and of equal ones the last wins, which is the first of the negated.

    Returns: (h, w, 2) int16 displacements x, y in pixels of the volume.
    """
    share_threads()
    height, width, n, _ = volume.shape
    sums = np.empty(sums_shape(volume.shape), np.uint16) if sums is None else sums
    winners = np.empty((height, width), np.int64)
    ends = np.empty((height, (n + 2) ** 2), np.uint16)
    if isinstance(smoothness, Potts):
        arguments = (smoothness.near, smoothness.far, int(smoothness.far / 3), smoothness.edge, 0)
    else:
        far = smoothness.slope * smoothness.reach
        arguments = (smoothness.slope, far, far, 0.0, smoothness.reach)
    luma = np.ascontiguousarray(luma, dtype=np.float32)
    middle = width // 2
    for left, right in ((middle, width), (0, middle)):
        for columns in (0, 1):
            _scan(volume, luma, columns, left, right, *arguments, sums, ends, winners, reversed_labels)
    return _displacements(winners, n, reversed_labels)


def sums_shape(volume: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the working space for volumes of the shape (h, w, n, n): that of half their columns."""
    height, width, *labels = volume
    return (height, width - width // 2, *labels)


def winner_takes_all(volume: np.ndarray, reversed_labels: bool = False) -> np.ndarray:
    """Displacements (h, w, 2) int16 of least cost, without smoothness; ties and order as in `semi_global_matching`."""
    share_threads()
    winners = np.empty(volume.shape[:2], np.int64)
    _least(volume, winners, reversed_labels)
    return _displacements(winners, volume.shape[2], reversed_labels)


def _displacements(winners: np.ndarray, n: int, reversed_labels: bool) -> np.ndarray:
    flow = np.stack([winners % n - n // 2, winners // n - n // 2], axis=-1).astype(np.int16)
    return -flow if reversed_labels else flow


@njit(parallel=True, cache=True)
def _least(volume, winners, last):  # pragma: no cover: compiled
    height, width = volume.shape[:2]
    for y in prange(height):
        for x in range(width):
            flat = volume[y, x].ravel()
            best = np.uint8(255)
            for value in flat:
                best = min(best, value)
            at = flat.size - 1 if last else 0
            while flat[at] != best:
                at += -1 if last else 1
            winners[y, x] = at


@njit(parallel=True, cache=True)
def _scan(
    volume, luma, columns, left, right, near, far, far_at_edge, edge, reach, sums, ends, winners, last
):  # pragma: no cover: compiled
    """Rows, or then columns, of a half, there and back: each on its own, so the number of threads changes nothing."""
    height, width, n, _ = volume.shape
    settings = (np.uint16(near), np.uint16(far), np.uint16(far_at_edge), np.float32(edge), np.int64(reach))
    flat, light, total, labels = volume.ravel(), luma.ravel(), sums.ravel(), winners.ravel()
    place = (width, left, sums.shape[1])
    lines = right - left if columns else height
    for line in prange(lines):
        for back in range(2):  # one call, which the compiler has to expand only once
            resumes, pauses, end = False, False, ends[0]
            if columns:
                start, step, length = left + line, width, height
            elif back:
                start, step, length = line * width + left, 1, right - left
                resumes, pauses, end = right < width, left > 0, ends[line]
            else:
                start, step, length = line * width, 1, right
            if back:
                start, step = start + (length - 1) * step, -step
            _path(
                flat, light, n, start, step, length, settings, total, place, columns + back, labels, last,
                end, resumes, pauses,
            )  # fmt: skip


@njit(cache=True)
def _path(
    volume, luma, n, start, step, length, settings, sums, place, mode, winners, last, end, resumes, pauses
):  # pragma: no cover: compiled
    """One path: L to `sums` (mode 0), added to them (1), or added to them and the winners found (2, the last path).

    `place` tells which columns have sums. `end` has L, in its rim, of the pixel before the first if the path `resumes`,
    and gets that of the last if it `pauses`.
    """
    width, left, held = place
    near, far, far_at_edge, edge, reach = settings
    before, now = np.full((n + 2) * (n + 2), np.uint16(_FAR)), np.full((n + 2) * (n + 2), np.uint16(_FAR))
    least = np.uint16(0)
    if resumes:
        before[:] = end
        least = before.min()
    for k in range(length):
        pixel = start + k * step
        costs = pixel * n * n
        if k == 0 and not resumes:
            least = _begin(volume, costs, now, n)
        else:
            smooth = abs(luma[pixel] - luma[pixel - step]) < edge
            penalty = far if reach or smooth else far_at_edge
            if reach:
                _spread(before, n, near, reach)
            least = _advance(volume, costs, before, now, n, near, np.uint16(least + penalty), least)
        column = pixel % width - left
        if column >= 0:
            at = (pixel // width * held + column) * n * n
            if mode == 2:
                winners[pixel] = _winner(now, sums, at, n, last)
            else:
                _add(now, sums, at, n, mode)
        before, now = now, before
    if pauses:
        end[:] = before


@njit(cache=True)
def _begin(volume, at, now, n):  # pragma: no cover: compiled
    least = np.uint16(_FAR)
    for j in range(n):
        target, cost = _row(now, j, n), volume[at + j * n : at + j * n + n]
        for i in range(n):
            target[i] = cost[i]
            least = min(least, target[i])
    return least


@njit(cache=True)
def _row(values, j, n):  # pragma: no cover: compiled
    """Row j of the labels in a rim of _FAR. LLVM vectorises loops over views, and none over sums of indices."""
    at = (j + 1) * (n + 2) + 1
    return values[at : at + n]


@njit(cache=True)
def _advance(volume, at, before, now, n, near, cap, least):  # pragma: no cover: compiled
    best = np.uint16(65535)
    for j in range(n):
        row = (j + 1) * (n + 2) + 1
        centre, left, right = before[row : row + n], before[row - 1 : row - 1 + n], before[row + 1 : row + 1 + n]
        above, below = _row(before, j - 1, n), _row(before, j + 1, n)
        target, cost = now[row : row + n], volume[at + j * n : at + j * n + n]
        for i in range(n):
            side = min(min(left[i], right[i]), min(above[i], below[i]))
            reached = min(min(np.uint16(side + near), centre[i]), cap)
            value = np.uint16(reached - least + cost[i])
            target[i] = value
            best = min(best, value)
    return best


@njit(cache=True)
def _spread(values, n, slope, reach):  # pragma: no cover: compiled
    """values(l) = min over k of values(k) + slope * |k - l|_1, in place, at least as far as |k - l| <= reach per axis.

    Down and up the rows one by one; along a row by steps of 1, 2, 4, ..., which together make every distance.
    """
    for j in range(1, n):
        _lower(_row(values, j, n), _row(values, j - 1, n), slope)
    for j in range(n - 2, -1, -1):
        _lower(_row(values, j, n), _row(values, j + 1, n), slope)
    copy = np.empty(n, np.uint16)
    for j in range(n):
        row = _row(values, j, n)
        step = 1
        while step < n and step <= reach:
            for i in range(n):
                copy[i] = row[i]
            _lower(row[: n - step], copy[step:], np.uint16(slope * step))
            _lower(row[step:], copy[: n - step], np.uint16(slope * step))
            step *= 2


@njit(cache=True)
def _lower(values, others, penalty):  # pragma: no cover: compiled
    for i in range(values.size):
        values[i] = min(values[i], np.uint16(others[i] + penalty))


@njit(cache=True)
def _add(now, sums, at, n, mode):  # pragma: no cover: compiled
    for j in range(n):
        row, total = _row(now, j, n), sums[at + j * n : at + j * n + n]
        if mode == 0:
            for i in range(n):
                total[i] = row[i]
        else:
            for i in range(n):
                total[i] += row[i]


@njit(cache=True)
def _winner(now, sums, at, n, last):  # pragma: no cover: compiled
    best, winner = np.uint16(65535), 0
    for j in range(n):
        row, total = _row(now, j, n), sums[at + j * n : at + j * n + n]
        least = np.uint16(65535)
        for i in range(n):
            least = min(least, np.uint16(total[i] + row[i]))
        if least < best or (last and least == best):
            best = least
            i = n - 1 if last else 0
            while np.uint16(total[i] + row[i]) != least:
                i += -1 if last else 1
            winner = j * n + i
    return winner
