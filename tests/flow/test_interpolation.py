from __future__ import annotations

import logging

import numpy as np
import pytest

from nic_lightning.flow import interpolation
from nic_lightning.flow.interpolation import interpolate

MOVE = (30.0, -15.0)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """A photograph of the size of Middlebury's."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:388, :500])


def _lattice(height: int, width: int, step: int) -> np.ndarray:
    y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    return np.stack([x.ravel(), y.ravel()], -1).astype(np.float32)


def _moved(points: np.ndarray, move=MOVE) -> np.ndarray:
    return np.concatenate([points, points + np.float32(move)], -1)


def test_the_exact_match_trap_is_there_and_avoided(frame):
    from cv2 import ximgproc

    matches = _moved(_lattice(*frame.shape[:2], 3))
    raw = ximgproc.createEdgeAwareInterpolator().interpolate(frame, matches[:, :2], frame, matches[:, 2:])
    assert np.abs(raw - MOVE).max() > 10  # when OpenCV mends this, JITTER can go
    for method in interpolation.METHODS:
        flow = interpolate(frame, frame, matches, method)
        assert flow.dtype == np.float32
        assert flow.shape == (388, 500, 2)
        assert np.abs(flow - MOVE).max() < 0.05


def test_more_matches_than_sixteen_bits(frame):
    matches = _moved(_lattice(*frame.shape[:2], 2))
    assert len(matches) > 40_000
    for method in interpolation.METHODS:
        flow = interpolate(frame, frame / np.float32(255), matches, method)
        assert np.abs(flow - MOVE).max() < 0.05


def test_two_motions_apart_and_the_same_flow_again(frame):
    small = np.zeros((90, 120, 3), np.uint8)
    small[:, 60:] = 200
    points = _lattice(90, 120, 3)
    right = points[:, :1] >= 60
    matches = np.concatenate([points, points + np.where(right, np.float32([6, 0]), np.float32([-3, 2]))], -1)
    holes = np.random.default_rng(0).random(len(matches)) < 0.6
    for method in interpolation.METHODS:
        flow = interpolate(small, small, matches[holes], method)
        assert np.abs(flow[5:-5, 70:-5] - [6, 0]).max() < 0.1
        assert np.abs(flow[5:-5, 5:50] - [-3, 2]).max() < 0.1
        assert (flow == interpolate(small, small, matches[holes], method)).all()


@pytest.mark.parametrize("method", interpolation.METHODS)
@pytest.mark.parametrize("size", [(16, 20), (5, 700), (120, 160)])
def test_few_and_scattered_matches_give_bounded_flow(method, size):
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    everywhere = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), -1).reshape(-1, 2).astype(np.float32)
    for count in (1, 3, 10, 50, 150, 499, 500, 700):
        points = random.permutation(everywhere)[:count]
        moves = random.integers(-80, 81, points.shape).astype(np.float32)
        flow = interpolate(image, image, np.concatenate([points, points + moves], -1), method)
        assert np.isfinite(flow).all()
        assert np.abs(flow).max() <= 161


def test_models_of_small_clumps_are_fitted_to_matches_alone():
    """Clumps of 64 matches, fewer than a model wants, and none among the nearest of another; all move alike."""
    from cv2 import ximgproc

    image = np.full((240, 360, 3), 128, np.uint8)
    centres = np.stack(np.meshgrid(np.arange(30, 360, 60), np.arange(24, 240, 48)), -1).reshape(-1, 1, 2)
    matches = _moved((centres + _lattice(16, 16, 2) - 8).reshape(-1, 2).astype(np.float32))
    raw = ximgproc.createRICInterpolator().interpolate(image, matches[:, :2], image, matches[:, 2:])
    assert not (np.abs(raw - MOVE) <= 1).all()  # or NaN; when OpenCV mends this, SUPPORT can go
    assert np.abs(interpolate(image, image, matches) - MOVE).max() < 0.05


@pytest.mark.parametrize("limit", [32, 0])
def test_fewer_neighbours_where_opencv_has_no_place_for_more(frame, monkeypatch, limit):
    import cv2

    tried, make = [], cv2.ximgproc.createRICInterpolator

    class Narrow:
        def __init__(self) -> None:
            self.inner = make()

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def interpolate(self, *arguments):
            tried.append(self.inner.getK())
            assert self.inner.getSuperpixelNNCnt() == tried[-1]
            if tried[-1] > limit:
                raise cv2.error("m_validSize >= m_size")
            return self.inner.interpolate(*arguments)

    monkeypatch.setattr(cv2.ximgproc, "createRICInterpolator", Narrow)
    matches = _moved(_lattice(100, 120, 4))
    assert np.abs(interpolate(frame[:100, :120], frame[:100, :120], matches) - MOVE).max() < 0.05
    assert tried == list(interpolation.SUPPORT)


def test_nearest_match_where_there_are_few():
    image = np.zeros((10, 10, 3), np.uint8)
    flow = interpolate(image, image, np.array([[0, 0, 3, 1], [9, 9, 9, 8]]))
    assert (flow[0, 1] == [3, 1]).all()
    assert (flow[8, 9] == [0, -1]).all()


def test_no_match_is_told(caplog):
    image = np.zeros((10, 12, 3), np.uint8)
    with caplog.at_level(logging.WARNING):
        assert not interpolate(image, image, np.zeros((0, 4))).any()
    assert "no match" in caplog.text


def test_wrong_input_is_refused():
    image = np.zeros((10, 12, 3), np.uint8)
    with pytest.raises(ValueError, match="ric, edge_aware"):
        interpolate(image, image, np.zeros((1, 4)), "epic")
    with pytest.raises(ValueError, match="finite"):
        interpolate(image, image, np.full((1, 4), np.nan))
