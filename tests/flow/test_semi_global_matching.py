"""Semi-global matching against dynamic programming by hand, and what must not change it."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from nic_lightning.errors import UserError
from nic_lightning.flow.semi_global_matching import (
    LARGEST_PENALTY,
    Potts,
    TruncatedL1,
    semi_global_matching,
    sums_shape,
    winner_takes_all,
)

N = 5
LABELS = np.array([(j, i) for j in range(N) for i in range(N)])
DISTANCES = np.abs(LABELS[:, None] - LABELS[None]).sum(-1)


def penalties(smoothness, luma_step: float) -> np.ndarray:
    if isinstance(smoothness, TruncatedL1):
        return smoothness.slope * np.minimum(DISTANCES, smoothness.reach)
    far = smoothness.far if luma_step < smoothness.edge else smoothness.far // 3
    return np.select([DISTANCES == 0, DISTANCES == 1], [0, min(smoothness.near, far)], far)


def sums_by_hand(volume: np.ndarray, luma: np.ndarray, smoothness) -> np.ndarray:
    height, width = volume.shape[:2]
    costs = volume.reshape(height, width, -1).astype(int)
    total = np.zeros_like(costs)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        paths = np.zeros_like(costs)
        for y in range(height)[:: dy or 1]:
            for x in range(width)[:: dx or 1]:
                q = (y - dy, x - dx)
                paths[y, x] = costs[y, x]
                if 0 <= q[0] < height and 0 <= q[1] < width:
                    steps = penalties(smoothness, abs(luma[y, x] - luma[q]))
                    paths[y, x] += (paths[q][None] + steps).min(1) - paths[q].min()
                    assert paths[y, x].max() <= 254 + steps.max()
        total += paths
    return total


@pytest.mark.parametrize("width", [1, 2, 7])  # halves of nothing, of one column, and of unlike size
@pytest.mark.parametrize("smoothness", [Potts(), Potts(3, 11), Potts(9, 20), TruncatedL1(7, 3), TruncatedL1(5, 9)])
def test_labels_are_those_of_dynamic_programming_by_hand(smoothness, width):
    random = np.random.default_rng(5)
    volume = random.integers(0, 255, (6, width, N, N), dtype=np.uint8)
    luma = random.choice([0.3, 0.31, 0.5], (6, width)).astype(np.float32)
    total = sums_by_hand(volume, luma, smoothness)
    first, last = total.argmin(-1), N * N - 1 - total[..., ::-1].argmin(-1)
    sums = np.empty(sums_shape(volume.shape), np.uint16)
    assert sums.size <= N * N * 6 * (width + 1) // 2
    found = semi_global_matching(volume, luma, smoothness, sums)
    np.testing.assert_array_equal(found, np.stack([first % N - 2, first // N - 2], -1))
    found = semi_global_matching(volume, luma, smoothness, reversed_labels=True)
    np.testing.assert_array_equal(found, -np.stack([last % N - 2, last // N - 2], -1))


def test_ties_go_to_the_first_label_and_constants_change_nothing():
    random = np.random.default_rng(6)
    volume = random.integers(0, 9, (9, 30, N, N), dtype=np.uint8)  # many ties
    luma = random.random((9, 30)).astype(np.float32)
    flow = semi_global_matching(volume, luma, Potts(1, 4))
    raised = volume + random.integers(0, 200, (9, 30, 1, 1), dtype=np.uint8)
    np.testing.assert_array_equal(flow, semi_global_matching(raised, luma, Potts(1, 4)))
    first = volume.reshape(9, 30, -1).argmin(-1)
    winner = np.stack([first % N - 2, first // N - 2], -1)
    np.testing.assert_array_equal(winner_takes_all(volume), winner)
    np.testing.assert_array_equal(winner_takes_all(volume[:, :, ::-1, ::-1].copy(), reversed_labels=True), winner)
    np.testing.assert_array_equal(semi_global_matching(volume, luma, Potts(0, 0)), winner)
    truncated = semi_global_matching(volume, luma, TruncatedL1(6, 1))
    np.testing.assert_array_equal(truncated, semi_global_matching(volume, luma, Potts(6, 6, edge=9)))
    turned = semi_global_matching(volume[:, ::-1, :, ::-1].copy(), luma[:, ::-1], Potts(1, 4))
    sums = sums_by_hand(volume, luma, Potts(1, 4))
    alone = (sums == sums.min(-1, keepdims=True)).sum(-1) == 1
    np.testing.assert_array_equal((turned[:, ::-1] * (-1, 1))[alone], flow[alone])


def test_the_number_of_threads_changes_nothing():
    volume = np.random.default_rng(7).integers(0, 40, (20, 33, 9, 9), dtype=np.uint8)
    luma = np.zeros((20, 33), np.float32)
    flows = []
    before = numba.get_num_threads()
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        flows.append(semi_global_matching(volume, luma, Potts(2, 20)))
    numba.set_num_threads(before)
    np.testing.assert_array_equal(flows[0], flows[-1])


def test_penalties_that_do_not_fit_are_refused():
    assert Potts(0, LARGEST_PENALTY).far == LARGEST_PENALTY
    for wrong in ((9, 8), (-1, 5), (0, LARGEST_PENALTY + 1)):
        with pytest.raises(UserError, match="Penalties"):
            Potts(*wrong)
    with pytest.raises(UserError, match="slope"):
        TruncatedL1(500, 90)
