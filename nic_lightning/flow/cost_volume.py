"""Matching costs C(p, v) = 1 - <u_p, u'_{p+v}> of all displacements, as DCFlow stores them (thesis Eq. 5.4).

A volume is uint8 (h, w, n, n), n = 2 * radius + 1: entry [y, x, dy + radius, dx + radius] = floor(127 * C), 0..254,
and `outside`, DCFlow's 64 by default, where p + v lies outside of the frame. It is made block by block; there is
never a float volume.

The second frame's volume holds the same numbers: C'(q, -v) = C(q - v, v). `match` can write it in the same pass, at
[q, v], that is with both label axes reversed; so entry [q, v] always speaks of a motion v from first to second frame.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from nic_lightning.flow.threads import share_threads

OUTSIDE = 64  # floor(255 * 0.251) of the original
BORDER = 4  # pixels whose 9x9 patch is cut by the frame
CHANNELS = 64
LANES, VECTORS, PIXELS = 8, 3, 4  # of the register tile: 4 x 3 sums of 8 numbers, and 4 registers to spare
COLUMNS = LANES * VECTORS
GROUPS = 16  # of PIXELS pixels in one block: its sums stay in the second-level cache


def match(
    first: np.ndarray,
    second: np.ndarray,
    radius: int,
    out: np.ndarray | None = None,
    reverse: np.ndarray | None = None,
    table: np.ndarray | None = None,
    top: int = 0,
    outside: int = OUTSIDE,
) -> np.ndarray:
    """Costs of the pixels of `first` against those of `second`.

    Args:
        first: (h, w, 64) float32 features of unit length.
        second: features of the other frame, of as many rows or, without `reverse`, more.
        radius: largest displacement along each axis, in pixels.
        out: where to write, (h, w, n, n) uint8; made anew where neither `out` nor `reverse` is given.
        reverse: if given, gets the costs of the pixels of `second` at the same motions (see above).
        table: if given, (256, 256) uint8: `out` becomes table[out, cost], entry by entry.
        top: the row of its frame at which `first` begins.
        outside: cost of what lies outside of the frame, 0 to 254.

    Returns: `out`, or `reverse` where only that was given.
    """
    share_threads()
    n = 2 * radius + 1
    nothing = np.empty((0, 0, 0, 0), np.uint8)
    if out is None:
        out = np.empty((*first.shape[:2], n, n), np.uint8) if reverse is None else nothing
    rest = nothing if reverse is None else reverse
    _fill(rest, outside)
    mode = 0 if table is None else 1 if np.array_equal(table, minimum_table()) else 2
    table = minimum_table() if table is None else np.ascontiguousarray(table)
    _match(_pack(first, PIXELS), _pack(second, COLUMNS), first.shape[1], top, radius, out, rest, mode, table, outside)
    return out if out.size else rest


def costs_at(first: np.ndarray, second: np.ndarray, displacements: np.ndarray, outside: int = OUTSIDE) -> np.ndarray:
    """The costs (h, w) uint8 of one displacement (h, w, 2) for each pixel, without a volume, and without its border."""
    height, width = first.shape[:2]
    y, x = np.mgrid[:height, :width]
    x, y = x + displacements[..., 0], y + displacements[..., 1]
    beyond = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    dots = np.einsum("yxc,yxc->yx", first, second[y.clip(0, height - 1), x.clip(0, width - 1)])
    costs = (127 * (1 - dots)).clip(0, 254).astype(np.uint8)
    costs[beyond] = outside
    return costs


def minimum_table() -> np.ndarray:
    """The table of min(a, b)."""
    levels = np.arange(256, dtype=np.uint8)
    return np.minimum.outer(levels, levels)


def mirror_border(volume: np.ndarray, above: bool = True, below: bool = True) -> np.ndarray:
    """Give the outer 4 pixels on each side the costs of their mirror images inside, in place.

    A strip of a frame has no border `above` or `below` where the frame goes on.
    """
    height, width = volume.shape[:2]
    for k in range(BORDER):
        volume[:, k] = volume[:, 2 * BORDER - 1 - k]
        volume[:, width - 1 - k] = volume[:, width - 2 * BORDER + k]
    for k in range(BORDER):
        if above:
            volume[k] = volume[2 * BORDER - 1 - k]
        if below:
            volume[height - 1 - k] = volume[height - 2 * BORDER + k]
    return volume


def _pack(features: np.ndarray, size: int) -> np.ndarray:
    """(h, w, 64) as (h, ceil(w / size), 64, size), zeros at the end."""
    height, width, channels = features.shape
    tiles = -(-width // size)
    padded = np.zeros((height, tiles * size, channels), np.float32)
    padded[:, :width] = features
    return np.ascontiguousarray(padded.reshape(height, tiles, size, channels).transpose(0, 1, 3, 2))


@intrinsic
def _multiply_tile(typing, a, a_at, b, b_at, out, out_at, stride):  # pragma: no cover: compiled
    """out[out_at + p * stride + k] = uint8(127 * (1 - sum over c of a[a_at + 4 c + p] * b[b_at + 24 c + k])).

    All sums stay in registers; LLVM's own vectoriser spills them. The vectors are of LLVM, so any processor has them.
    """
    signature = types.void(a, a_at, b, b_at, out, out_at, stride)
    index, lane = ir.IntType(64), ir.IntType(32)
    vector, integers, levels = (ir.VectorType(t, LANES) for t in (ir.FloatType(), lane, ir.IntType(8)))
    undefined, first_lane = ir.Constant(vector, ir.Undefined), ir.Constant(integers, [0] * LANES)

    def pointer(context, builder, signature, arguments, i):
        data = context.make_array(signature.args[i])(context, builder, arguments[i]).data
        return builder.gep(data, [arguments[i + 1]])

    def load_splat(builder, address):
        one = builder.insert_element(undefined, builder.load(address), lane(0))
        return builder.shuffle_vector(one, undefined, first_lane)

    def generate(context, builder, signature, arguments):
        a, b, out = (pointer(context, builder, signature, arguments, i) for i in (0, 2, 4))
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        channel = builder.phi(index)
        sums = [[builder.phi(vector) for _ in range(VECTORS)] for _ in range(PIXELS)]
        following = builder.add(channel, index(1))
        channel.add_incoming(index(0), before)
        channel.add_incoming(following, loop)
        row = builder.gep(b, [builder.mul(channel, index(COLUMNS))])
        rights = [builder.gep(row, [index(LANES * j)]) for j in range(VECTORS)]
        rights = [builder.load(builder.bitcast(right, vector.as_pointer()), align=4) for right in rights]
        for p in range(PIXELS):
            left = load_splat(builder, builder.gep(a, [builder.add(builder.mul(channel, index(PIXELS)), index(p))]))
            for j in range(VECTORS):
                product = builder.fmul(left, rights[j], flags=("contract",))
                total = builder.fadd(product, sums[p][j], flags=("contract",))
                sums[p][j].add_incoming(ir.Constant(vector, [0.0] * LANES), before)
                sums[p][j].add_incoming(total, loop)
                sums[p][j] = total
        builder.cbranch(builder.icmp_signed("<", following, index(CHANNELS)), loop, after)
        builder.position_at_end(after)
        for p in range(PIXELS):
            for j in range(VECTORS):
                cost = builder.fsub(ir.Constant(vector, [1.0] * LANES), sums[p][j])
                level = builder.fptosi(builder.fmul(cost, ir.Constant(vector, [127.0] * LANES)), integers)
                address = builder.gep(out, [builder.add(builder.mul(arguments[6], index(p)), index(LANES * j))])
                builder.store(builder.trunc(level, levels), builder.bitcast(address, levels.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate


@njit(parallel=True, cache=True)
def _fill(volume, outside):  # pragma: no cover: compiled
    for y in prange(volume.shape[0]):
        volume[y] = outside


@njit(parallel=True, cache=True)
def _match(first, second, width, top, radius, out, reverse, mode, table, outside):  # pragma: no cover
    height, groups = first.shape[:2]
    blocks = -(-groups // GROUPS)
    flat_first, flat_second, flat_out, flat_reverse = first.ravel(), second.ravel(), out.ravel(), reverse.ravel()
    tiles = second.shape[1]
    for task in prange(height * blocks):
        y, group = task // blocks, task % blocks * GROUPS
        last_group = min(group + GROUPS, groups)
        left = max(0, group * PIXELS - radius) // COLUMNS
        right = min(tiles, (last_group * PIXELS - 1 + radius) // COLUMNS + 1)
        stride = (right - left) * COLUMNS
        costs = np.empty(GROUPS * PIXELS * stride, np.uint8)
        x0, x1, column = group * PIXELS, min(last_group * PIXELS, width), left * COLUMNS
        for dy in range(-radius, radius + 1):
            y2 = y + top + dy
            reached = 0 <= y2 < second.shape[0]
            if reached:
                a_at, b_at = y * groups * CHANNELS * PIXELS, y2 * tiles * CHANNELS * COLUMNS
                for tile in range(left, right):
                    low = max(group, -((radius + PIXELS - 1 - tile * COLUMNS) // PIXELS))
                    high = min(last_group, (tile * COLUMNS + COLUMNS - 1 + radius) // PIXELS + 1)
                    for g in range(low, high):
                        to = (g - group) * PIXELS * stride + (tile - left) * COLUMNS
                        _multiply_tile(  # pyright: ignore[reportCallIssue]
                            flat_first, a_at + g * CHANNELS * PIXELS,
                            flat_second, b_at + tile * CHANNELS * COLUMNS, costs, to, stride,
                        )  # fmt: skip
                if flat_reverse.size:
                    _write_reverse(costs, stride, column, x0, x1, y2, dy, width, radius, flat_reverse)
            if flat_out.size:
                _write(costs, stride, column, x0, x1, y, dy, width, radius, reached, flat_out, mode, table, outside)


@njit(cache=True)
def _write(costs, stride, column, x0, x1, y, dy, width, radius, reached, out, mode, table, outside):  # pragma: no cover
    """The costs of one dy to out: costs[p * stride + k] is of pixel x0 + p and column `column` + k."""
    n = 2 * radius + 1
    for x in range(x0, x1):
        low, high = (max(0, x - radius), min(width, x + radius + 1)) if reached else (x - radius, x - radius)
        at = ((y * width + x) * n + dy + radius) * n
        start = (x - x0) * stride + low - column
        target = out[at : at + n]
        _combine(target[low - x + radius : high - x + radius], costs[start : start + high - low], mode, table)
        _combine_outside(target[: low - x + radius], mode, table, outside)
        _combine_outside(target[high - x + radius :], mode, table, outside)


@njit(cache=True)
def _combine(target, costs, mode, table):  # pragma: no cover: compiled
    if mode == 0:
        for k in range(target.size):
            target[k] = costs[k]
    elif mode == 1:
        for k in range(target.size):
            target[k] = min(target[k], costs[k])
    else:
        for k in range(target.size):
            target[k] = table[target[k], costs[k]]


@njit(cache=True)
def _combine_outside(target, mode, table, outside):  # pragma: no cover: compiled
    for k in range(target.size):
        target[k] = outside if mode == 0 else table[target[k], outside]


@njit(cache=True)
def _write_reverse(costs, stride, column, x0, x1, y2, dy, width, radius, reverse):  # pragma: no cover: compiled
    """The same costs to the pixels x2 = x + dx of row y2, where they belong to the same label."""
    n = 2 * radius + 1
    for x2 in range(max(0, x0 - radius), min(width, x1 + radius)):
        low, high = max(x0, x2 - radius), min(x1, x2 + radius + 1)
        at = ((y2 * width + x2) * n + dy + radius) * n + radius + x2 - high + 1
        target = reverse[at : at + high - low]
        source = costs[(low - x0) * stride + x2 - column :: stride]
        for k in range(high - low):
            target[high - low - 1 - k] = source[k]
