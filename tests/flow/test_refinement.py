from __future__ import annotations

import numpy as np
import pytest

from nic_lightning.errors import UserError
from nic_lightning.flow.refinement import check_refinement, refine


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Smooth texture and the same moved by (1.5, -0.5) pixels."""
    import cv2

    noise = np.random.default_rng(0).random((160, 200, 3), dtype=np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    shift = np.float32([[1, 0, 1.5], [0, 1, -0.5]])
    return smooth, cv2.warpAffine(smooth, shift, (200, 160), borderMode=cv2.BORDER_REFLECT)


def _error(flow: np.ndarray) -> float:
    return float(np.linalg.norm(flow[8:-8, 8:-8] - [1.5, -0.5], axis=-1).mean())


def test_whole_steps_become_subpixel_flow(pair):
    coarse = np.full((160, 200, 2), [2, -1], np.float32)
    before = coarse.copy()
    fine, weak, strong = (refine(*pair, coarse, **steps) for steps in ({}, {"outer": 5, "inner": 5}, {"outer": 30}))
    assert (coarse == before).all()
    assert _error(coarse) == pytest.approx(np.hypot(0.5, 0.5))
    assert _error(strong) < _error(fine) < 0.4 < 0.6 < _error(weak)


def test_same_input_same_flow_in_bytes_or_fractions(pair):
    start = np.zeros((160, 200, 2), np.float32)
    first = refine(*pair, start)
    assert (first == refine(*pair, start)).all()
    assert (first == refine(*(image / np.float32(255) for image in pair), start)).all()


def test_unknown_pixels_stay_unknown(pair):
    start = np.full((160, 200, 2), [1, 0], np.float32)
    start[40:60, 50:80, 1] = np.nan
    fine = refine(*pair, start)
    unknown = ~np.isfinite(fine).all(-1)
    assert unknown.sum() == 20 * 30
    assert unknown[40:60, 50:80].all()
    assert np.nanmean(np.abs(fine[..., 0] - 1.5)) < 0.3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"foo": 1}, "no setting 'foo'; it has outer"),
        ({"outer": True}, "refinement.outer is a whole number"),
        ({"inner": 0}, "refinement.inner is a whole number"),
        ({"gamma": None}, "refinement.gamma is a number of 0 or more"),
        ({"omega": float("nan")}, "refinement.omega is a number of 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_frames_are_matched(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        check_refinement(settings)
