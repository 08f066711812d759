"""The bilateral filter of a cost volume against floating-point sums, and what it must not do."""

from __future__ import annotations

import numpy as np
import pytest

from nic_lightning.errors import UserError
from nic_lightning.flow.filtering import TILE, BilateralFilter, bilateral_weights, filter_costs

SETTINGS = BilateralFilter(radius=2, sigma_space=1.5, sigma_colour=0.1)


def filter_by_hand(volume: np.ndarray, image: np.ndarray, settings: BilateralFilter) -> np.ndarray:
    height, width = image.shape[:2]
    out = np.zeros(volume.shape)
    y, x = np.mgrid[:height, :width]
    for py in range(height):
        for px in range(width):
            colour = np.square(image.astype(float) - image[py, px]).sum(-1)
            space = (y - py) ** 2 + (x - px) ** 2
            weights = np.exp(-space / (2 * settings.sigma_space**2) - colour / (2 * settings.sigma_colour**2))
            weights[np.maximum(abs(y - py), abs(x - px)) > settings.radius] = 0
            out[py, px] = np.tensordot(weights / weights.sum(), volume.astype(float), axes=2)
    return out


def test_costs_are_those_of_floating_point_sums():
    random = np.random.default_rng(3)
    n = 2 * int(TILE**0.5 / 2) + 3
    assert n * n > TILE  # more labels than are filtered at a time
    volume = random.normal(110, 30, (9, 11, n, n)).clip(0, 254).astype(np.uint8)  # as real costs lie
    image = random.random((9, 11, 3)).astype(np.float32) * 0.3
    wanted = filter_by_hand(volume, image, SETTINGS)
    found = filter_costs(volume.copy(), image, SETTINGS)
    assert np.abs(found - wanted).max() <= 2
    assert np.abs(found - wanted).mean() < 0.5


def test_weights_sum_to_256_and_stay_inside():
    image = np.random.default_rng(4).random((12, 15, 3)).astype(np.float32)
    weights = bilateral_weights(image, BilateralFilter())
    assert (weights.sum((2, 3)) == 256).all()
    assert not weights[0, :, :3].any()
    assert not weights[:, -1, :, 4:].any()
    flat = bilateral_weights(np.zeros((12, 15, 3), np.float32), BilateralFilter())
    assert flat[6, 7, 3, 3] == flat[6, 7].max()
    assert (abs(flat[6, 7].astype(int) - flat[6, 7, ::-1, ::-1]) <= 1).all()


def test_constants_stay_and_edges_hold():
    image = np.zeros((10, 12, 3), np.float32)
    image[:, 6:] = 0.6
    constant = np.full((10, 12, 3, 3), 254, np.uint8)
    np.testing.assert_array_equal(filter_costs(constant.copy(), image, SETTINGS), constant)
    two = np.full((10, 12, 3, 3), 20, np.uint8)
    two[:, 6:] = 200
    np.testing.assert_array_equal(filter_costs(two.copy(), image, SETTINGS), two)
    leaking = filter_costs(two.copy(), np.zeros_like(image), SETTINGS)
    assert (leaking[:, 5] > 20).all()


def test_wrong_settings_are_refused():
    for wrong in ({"radius": 0}, {"radius": 8}, {"sigma_space": 0}, {"sigma_colour": -1}):
        with pytest.raises(UserError, match="bilateral filter"):
            BilateralFilter(**wrong)
