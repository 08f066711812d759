from __future__ import annotations

import numpy as np
import pytest

from nic_lightning.flow import consistency


def _still(height: int = 6, width: int = 8) -> np.ndarray:
    return np.zeros((height, width, 2), np.int16)


def test_keep_compares_squared_distances_of_whole_labels():
    forward, backward = _still(), _still()
    forward[2, 1:7, 0] = 1  # pixels 1 to 6 go to 2 to 7
    for place, (dx, dy) in enumerate([(-1, 0), (0, 0), (0, 1), (1, 0), (-1, 2), (-1, -1)]):
        backward[2, 2 + place] = dx, dy
    row = forward[2, 1:7] + backward[2, 2:8]
    assert (row**2).sum(-1).tolist() == [0, 1, 2, 4, 4, 1]
    near = consistency.keep(forward, backward, 0.8, "off")[2, 1:7]
    far = consistency.keep(forward, backward, 3.0, "off")[2, 1:7]
    assert near.tolist() == [True, False, False, False, False, False]
    assert far.tolist() == [True, True, True, False, False, True]


def test_keep_drops_what_leaves_the_frame_and_never_wraps_around():
    forward = _still()
    forward[:, -1, 0] = 1
    forward[0, :, 1] = -1
    forward[3, 3] = (-32768, 32767)
    kept = consistency.keep(forward, _still(), 1e12, "off")
    assert not kept[:, -1].any()
    assert not kept[0].any()
    assert not kept[3, 3]
    assert kept.sum() == 6 * 8 - 6 - 7 - 1


def test_shared_targets_are_dropped_by_each_rule():
    forward, backward = _still(), _still()
    forward[2, 3, 0] = 2  # (3, 2) joins (5, 2) at (5, 2), and nobody is left at (3, 2)
    backward[2, 5, 0] = -2
    kept = {rule: consistency.keep(forward, backward, 9.0, rule) for rule in consistency.UNIQUE}
    assert kept["off"].all()
    assert np.argwhere(~kept["target"]).tolist() == [[2, 3], [2, 5]]
    assert np.argwhere(~kept["official"]).tolist() == [[2, 5]]
    with pytest.raises(ValueError, match="official, target, off"):
        consistency.keep(forward, backward, unique="both")
    with pytest.raises(ValueError, match="one size"):
        consistency.keep(forward, backward[:, 1:])


def test_strategy_3_chooses_the_threshold_by_cost():
    random = np.random.default_rng(0)
    forward, backward = (random.integers(-2, 3, (30, 40, 2), dtype=np.int16) for _ in range(2))
    low, high = np.zeros((30, 40)), np.ones((30, 40))

    def keep(forward_cost, backward_cost):
        return consistency.keep_by_cost(forward, backward, forward_cost, backward_cost, unique="off")

    near, far = (consistency.keep(forward, backward, t, "off") for t in (0.8, 3.0))
    assert near.sum() < far.sum()
    assert (keep(low, high) == near).all()
    assert (keep(high, low) == far).all()
    assert (keep(low, low) == far).all()  # T1 only where the next frame is better
    left = high.copy()
    left[:, :20] = 0
    mixed = keep(left, high * 0.5)
    assert (mixed[:, :20] == near[:, :20]).all()
    assert (mixed[:, 20:] == far[:, 20:]).all()


def test_strategy_2_keeps_where_two_flows_agree():
    first = _still()
    second = first.copy()
    second[1, 1] = 1, 0
    second[2, 2] = 1, 1
    assert np.argwhere(~consistency.keep_agreeing(first, second)).tolist() == [[1, 1], [2, 2]]
    assert consistency.keep_agreeing(first, second, 3.0).all()


def test_strategy_1_drops_segments_of_19_pixels_and_keeps_those_of_20():
    flow = _still(20, 30)
    flow[2, 2:21] = 5, 0  # 19
    flow[5, 2:22] = 5, 0  # 20
    flow[8:12, 2:6] = 0, 7  # 16 and 16 that touch at a corner only
    flow[12:16, 6:10] = 0, 7
    kept = consistency.keep_large_regions(flow)
    dropped = np.zeros((20, 30), bool)
    dropped[2, 2:21] = dropped[8:12, 2:6] = dropped[12:16, 6:10] = True
    assert (kept == ~dropped).all()


def test_strategy_1_with_a_tolerance_follows_a_slope():
    flow = _still(4, 30)
    flow[..., 0] = np.arange(30)
    assert not consistency.keep_large_regions(flow).any()
    assert consistency.keep_large_regions(flow, tolerance=1).all()


def test_matches_start_at_block_centres():
    flow = _still()
    flow[1, 2] = -1, 3
    kept = np.zeros((6, 8), bool)
    kept[1, 2] = kept[5, 7] = True
    assert consistency.matches(flow, kept, 3).tolist() == [[7, 4, 4, 13], [22, 16, 22, 16]]
    assert consistency.matches(flow, kept, 1).tolist() == [[2, 1, 1, 4], [7, 5, 7, 5]]
    assert consistency.matches(flow, kept & False, 3).shape == (0, 4)
