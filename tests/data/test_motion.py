"""Photographs in motion: that their flow is true, and follows from the seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from nic_lightning.data import motion
from nic_lightning.data.motion import moving_photograph

SIDE = 160


def photograph(seed: int) -> np.ndarray:
    grey = np.random.default_rng(seed).random((200, 240, 3))
    smooth = gaussian_filter(grey, (2, 2, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


@pytest.fixture
def scene(monkeypatch):
    """Scenes whose frames differ by motion alone."""
    for name in ("_GAIN", "_SHIFT", "_NOISE"):
        monkeypatch.setattr(motion, name, 0.0)

    def make(seed: int, **more):
        generator = torch.Generator().manual_seed(seed)
        return moving_photograph(photograph(0), photograph(1), SIDE, generator, unsteady=0.0, **more)

    return make


def fetched(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    places = [y + flow[..., 1], x + flow[..., 0]]
    return np.stack(
        [map_coordinates(image[..., c].astype(float), places, order=3, mode="mirror") for c in range(3)], -1
    )


@pytest.mark.parametrize("seed", range(4))
def test_frames_fetched_along_the_flow_are_the_frame(scene, seed):
    made = scene(seed, largest=20.0)
    error = np.abs(fetched(made.following, made.flow) - made.current).max(-1)
    still = np.abs(made.following.astype(float) - made.current).max(-1)
    hidden = made.hidden
    assert 0.01 < hidden.mean() < 0.7
    assert np.mean(error[~hidden] > 12) < 0.02  # rims of things are mixed colours
    assert np.median(error[~hidden]) < 2
    assert np.median(still[~hidden]) > 20
    y, x = np.mgrid[:SIDE, :SIDE]
    ends = np.stack([x, y], -1) + made.flow
    inside = ((ends >= 0) & (ends <= SIDE - 1)).all(-1)
    assert hidden[~inside].all()
    if (covered := hidden & inside).sum() > 50:
        assert np.median(error[covered]) > 10
    starts = np.stack([x, y], -1) - made.flow
    shown_before = ((starts >= 0) & (starts <= SIDE - 1)).all(-1)
    before = np.abs(fetched(made.previous, -made.flow) - made.current).max(-1)
    assert np.median(before[shown_before]) < 2


def test_a_scene_follows_from_the_seed():
    first, same, other = (
        moving_photograph(photograph(0), photograph(1), 64, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    for a, b in zip(first[1:], same[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.current, other.current)
    assert first.current.shape == (64, 64, 3)
    assert first.current.dtype == np.uint8
    assert np.isfinite(first.flow).all()


def test_photographs_may_be_smaller_than_the_scene():
    tiny = moving_photograph(photograph(0)[:9, :12], photograph(1)[:1, :1], 64, torch.Generator().manual_seed(0))
    assert np.ptp(tiny.current) > 0
