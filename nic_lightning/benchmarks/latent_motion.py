"""Block matching by compiled running sums, beside the same search in NumPy: one frame after the other, in turns."""

from __future__ import annotations

import statistics

import numpy as np
import torch
from numpy.typing import NDArray

from nic_lightning.analysis.latency import photograph
from nic_lightning.analysis.latent_motion.block_matching import luma, match_blocks, quantised
from nic_lightning.benchmarks.timing import alternate
from nic_lightning.errors import UserError

SHIFT = (5, -3)
"""Of the second frame, right and down, in pixels."""


def main(size: int, block: int, radius: int, rounds: int) -> None:
    """Print milliseconds of both searches, as medians, and the ratio of the same round.

    Raises UserError where the two do not find the same motion.
    """
    first, second = frames(size)
    if not np.array_equal(
        match_blocks(first, second, block, radius), numpy_search(first, second, block, radius), equal_nan=True
    ):
        raise UserError("The compiled search and NumPy's do not find the same motion.")
    compiled, plain = alternate(
        rounds,
        torch.empty(0),
        lambda _: match_blocks(first, second, block, radius),
        lambda _: numpy_search(first, second, block, radius),
        warm_up=1,
    )
    ratios = [slow / fast for fast, slow in zip(compiled, plain, strict=True)]
    print(f"frames of {size}x{size}, blocks of {block}x{block}, search of +-{radius}, medians of {rounds} rounds")
    for name, series in (("compiled", compiled), ("NumPy", plain)):
        print(f"{name:10}{1e3 * statistics.median(series):10.1f} ms")
    print(f"the same motion, {statistics.median(ratios):.1f} times as fast")


def frames(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two grey crops of a photograph, `SHIFT` apart."""
    margin = max(map(abs, SHIFT))
    grey = luma(photograph((size + 2 * margin, size + 2 * margin))[0].numpy())
    x, y = SHIFT
    cuts = [(margin, margin), (margin - y, margin - x)]
    first, second = (grey[top : top + size, left : left + size] for top, left in cuts)
    return first, second


def numpy_search(first: NDArray, second: NDArray, block: int, radius: int) -> NDArray[np.float32]:
    """`match_blocks` in NumPy: a shifted difference for each displacement, sums of blocks from a table of sums."""
    a, b = quantised(first, second, block)
    height, width = a.shape[1:]
    reach = block // 2
    best = np.full((height, width), np.iinfo(np.int64).max)
    field = np.full((height, width, 2), np.nan, np.float32)
    for dy in range(-radius, radius + 1):
        top, bottom = max(0, -dy), min(height, height - dy)
        for dx in range(-radius, radius + 1):
            left, right = max(0, -dx), min(width, width - dx)
            if bottom - top < block or right - left < block:
                continue
            difference = a[:, top:bottom, left:right] - b[:, top + dy : bottom + dy, left + dx : right + dx]
            sums = np.zeros((bottom - top + 1, right - left + 1), np.int64)
            np.cumsum(np.einsum("cyx,cyx->yx", difference, difference), 0, out=sums[1:, 1:])
            np.cumsum(sums[1:, 1:], 1, out=sums[1:, 1:])
            totals = sums[block:, block:] - sums[:-block, block:] - sums[block:, :-block] + sums[:-block, :-block]
            inside = slice(top + reach, bottom - reach), slice(left + reach, right - reach)
            better = totals < best[inside]
            best[inside][better] = totals[better]
            field[inside][better] = (dx, dy)
    return field
