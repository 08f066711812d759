"""The cost volume against sums by hand, its symmetry, and the triple cost."""

from __future__ import annotations

import numpy as np
import pytest

from nic_lightning.errors import UserError
from nic_lightning.flow.cost_volume import OUTSIDE, match, mirror_border
from nic_lightning.flow.triple import MINIMUM, TWO_FRAMES, triple_cost_volume, weighting_table

# 75 columns: several tiles and blocks, the last of them cut.
HEIGHT, WIDTH, RADIUS = 12, 75, 4


def unit_features(seed: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(height, width, 64)).astype(np.float32)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def costs_by_hand(first: np.ndarray, second: np.ndarray, radius: int) -> np.ndarray:
    height, width = first.shape[:2]
    n = 2 * radius + 1
    out = np.full((height, width, n, n), OUTSIDE, np.uint8)
    padded = np.pad(second, ((radius, radius), (radius, radius), (0, 0)))
    inside = np.pad(np.ones((height, width), bool), radius)
    for j in range(n):
        for i in range(n):
            dots = np.einsum("yxc,yxc->yx", first, padded[j : j + height, i : i + width], dtype=np.float64)
            valid = inside[j : j + height, i : i + width]
            out[valid, j, i] = np.trunc(127 * (1 - dots[valid]))
    return out


@pytest.fixture(scope="module")
def frames():
    return unit_features(0), unit_features(1), unit_features(2)


def test_costs_are_those_of_the_sum_by_hand(frames):
    difference = match(frames[0], frames[1], RADIUS).astype(int) - costs_by_hand(frames[0], frames[1], RADIUS)
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) < 1e-4 * difference.size
    tall = unit_features(3, 20, 9), unit_features(4, 20, 9)  # displacements beyond the width
    difference = match(*tall, 11).astype(int) - costs_by_hand(*tall, 11)
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) < 1e-3 * difference.size


def test_what_lies_outside_has_its_own_cost(frames):
    first, second, _ = frames
    usual, other = match(first, second, RADIUS), match(first, second, RADIUS, outside=100)
    outside = costs_by_hand(np.zeros_like(first), second, RADIUS) == OUTSIDE  # 127 elsewhere
    np.testing.assert_array_equal(usual[~outside], other[~outside])
    assert (usual[outside] == OUTSIDE).all()
    assert (other[outside] == 100).all()
    reverse = match(first, second, RADIUS, reverse=np.empty_like(usual), outside=100)
    np.testing.assert_array_equal(reverse, match(second, first, RADIUS, outside=100)[:, :, ::-1, ::-1])


def test_the_reverse_volume_is_the_second_frames_own(frames):
    first, second, _ = frames
    forward, reverse = np.empty((2, HEIGHT, WIDTH, 2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    match(first, second, RADIUS, forward, reverse)
    np.testing.assert_array_equal(reverse, match(first, second, RADIUS, reverse=np.empty_like(reverse)))
    backward = match(second, first, RADIUS)
    np.testing.assert_array_equal(reverse, backward[:, :, ::-1, ::-1])
    np.testing.assert_array_equal(forward[3, 40, RADIUS + 2, RADIUS - 3], backward[5, 37, RADIUS - 2, RADIUS + 3])


def test_the_border_mirrors_the_inside(frames):
    volume = match(frames[0], frames[1], 1)
    mirrored = mirror_border(volume.copy())
    rows = [7, 6, 5, 4, *range(4, HEIGHT - 4), *(HEIGHT - 5 - k for k in range(4))]
    columns = [7, 6, 5, 4, *range(4, WIDTH - 4), *(WIDTH - 5 - k for k in range(4))]
    np.testing.assert_array_equal(mirrored, volume[rows][:, columns])


@pytest.mark.parametrize("lambdas", [(0, 0, 1), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0), (0.2, 1.4, 0.7)])
def test_the_triple_cost_is_equation_5_8(frames, lambdas):
    previous, current, following = frames
    forward = match(current, following, RADIUS).astype(float)
    backward = match(current, previous, RADIUS)[:, :, ::-1, ::-1].astype(float)
    wanted = lambdas[0] * forward + lambdas[1] * backward + lambdas[2] * np.minimum(forward, backward)
    found = triple_cost_volume(previous, current, following, RADIUS, lambdas)
    assert np.abs(found - np.minimum(wanted, 255)).max() <= 0.5 + 1e-9


def test_two_frames_alone_and_time_reversed(frames):
    previous, current, following = frames
    two = match(current, following, RADIUS)
    np.testing.assert_array_equal(triple_cost_volume(previous, current, following, RADIUS, TWO_FRAMES), two)
    np.testing.assert_array_equal(triple_cost_volume(None, current, following, RADIUS, MINIMUM), two)
    last = triple_cost_volume(previous, current, None, RADIUS, MINIMUM)
    np.testing.assert_array_equal(last, match(current, previous, RADIUS)[:, :, ::-1, ::-1])
    there = triple_cost_volume(previous, current, following, RADIUS, MINIMUM)
    back = triple_cost_volume(following, current, previous, RADIUS, MINIMUM)
    np.testing.assert_array_equal(there, back[:, :, ::-1, ::-1])
    with pytest.raises(ValueError, match="One frame alone"):
        triple_cost_volume(None, current, None, RADIUS)


@pytest.mark.parametrize("lambdas", [(0, 0, 0), (-1, 1, 1), (float("nan"), 0, 1)])
def test_wrong_weights_are_refused(lambdas):
    with pytest.raises(UserError, match="triple cost"):
        weighting_table(lambdas)
