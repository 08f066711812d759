"""Block matching against the search as it is defined, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from nic_lightning.analysis.latent_motion.block_matching import lively, luma, match_blocks, match_tensors, quantised
from nic_lightning.errors import UserError


def plain(first: np.ndarray, second: np.ndarray, block: int, radius: int) -> np.ndarray:
    """The specification: for each pixel, all displacements in order, sums of squares over blocks; the first minimum."""
    a, b = (one.astype(np.int64) for one in quantised(first, second, block))
    height, width = a.shape[1:]
    reach = block // 2
    field = np.full((height, width, 2), np.nan, np.float32)
    for y in range(reach, height - reach):
        for x in range(reach, width - reach):
            best = None
            here = a[:, y - reach : y + reach + 1, x - reach : x + reach + 1]
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    top, left = y + dy - reach, x + dx - reach
                    if top < 0 or left < 0 or top + block > height or left + block > width:
                        continue
                    total = ((here - b[:, top : top + block, left : left + block]) ** 2).sum()
                    if best is None or total < best:
                        best, field[y, x] = total, (dx, dy)
    return field


@pytest.mark.parametrize(
    ("shape", "block", "radius"),
    [
        ((17, 23), 5, 3),
        ((3, 12, 9), 3, 4),
        ((2, 7, 7), 7, 2),
        ((6, 34), 3, 13),
        ((9, 9), 3, 0),
        ((3, 2060), 3, 1),  # wider than the running sums that are kept at a time, twice
    ],
)
def test_it_is_the_plain_search(shape, block, radius) -> None:
    draw = np.random.default_rng(0)
    first, second = (np.round(4 * draw.random(shape)) / 4 for _ in range(2))  # few values, so that there are ties
    np.testing.assert_array_equal(match_blocks(first, second, block, radius), plain(first, second, block, radius))


def test_ties_go_to_the_first_displacement() -> None:
    field = match_blocks(np.zeros((16, 16)), np.zeros((16, 16)), 3, 2)
    assert (field[3:-3, 3:-3] == -2).all()
    assert tuple(field[1, 1]) == (0, 0)  # nothing lies further up or left


def test_a_whole_shift_is_found_everywhere() -> None:
    scene = np.random.default_rng(1).random((60, 70))
    first, second = scene[8:-8, 8:-8], scene[8 - 3 : -8 - 3, 8 + 5 : -8 + 5]
    field = match_blocks(first, second, 7, 6)
    assert (field[9:-9, 9:-9] == (-5, 3)).all()
    assert np.isnan(field[:3]).all()
    assert np.isnan(field[:, -3:]).all()


def test_dead_channels_are_left_out() -> None:
    scene = np.random.default_rng(2).random((4, 30, 30))
    scene[1] = 0.5
    scene[2] *= 0.01
    assert lively(scene).tolist() == [0, 3]
    field = match_tensors(scene[:, 4:-4, 4:-4], scene[:, 3:-5, 4:-4], 3, 2)
    assert (field[4:-4, 4:-4] == (0, 1)).all()
    with pytest.raises(UserError, match="All channels of the tensor are constant"):
        match_tensors(scene[1:2], scene[1:2])


def test_sums_fit_32_bits() -> None:
    first, second = np.zeros((64, 40, 40)), np.ones((64, 40, 40))
    field = match_blocks(first, second, 31, 1)
    a, b = quantised(first, second, 31)
    assert 64 * 31 * 31 * int((b - a).max()) ** 2 < 2**31
    assert np.isfinite(field[15:-15, 15:-15]).all()


def test_luma() -> None:
    assert luma(np.ones((3, 2, 2))).tolist() == [[pytest.approx(1.0)] * 2] * 2


@pytest.mark.parametrize(
    ("shapes", "block", "sentence"),
    [
        (((8, 8), (8, 9)), 3, "shapes have to be equal"),
        (((8, 8), (8, 8)), 4, "give an odd side"),
        (((8, 8), (8, 8)), 9, "do not fit into 8x8"),
    ],
)
def test_what_cannot_be_matched_is_one_sentence(shapes, block, sentence) -> None:
    with pytest.raises(UserError, match=sentence):
        match_blocks(np.zeros(shapes[0]), np.zeros(shapes[1]), block, 1)
    with pytest.raises(UserError, match="not finite"):
        match_blocks(np.full((8, 8), np.nan), np.zeros((8, 8)), 3, 1)
