from __future__ import annotations

import numpy as np

from nic_lightning.flow.colour import error_map, to_colours, warp


def _everywhere(height: int = 41, width: int = 61) -> np.ndarray:
    """Motion in every direction, none in the middle."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x - width // 2, y - height // 2], -1) / 3


def test_colours_are_those_of_torchvision():
    import torch
    from torchvision.utils import flow_to_image

    flow = _everywhere()
    theirs = flow_to_image(torch.from_numpy(flow).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    assert np.abs(to_colours(flow).astype(int) - theirs).max() <= 2


def test_direction_is_hue_and_nothing_is_white():
    colours = to_colours(_everywhere())
    assert (colours[20, 30] == 255).all()
    right, left, down = (colours[place].astype(int) for place in ((20, 60), (20, 0), (40, 30)))
    assert right[0] > right[1] and right[0] > right[2]  # red  # noqa: PT018
    assert left[2] > left[0]
    assert down[0] > down[2] and down[1] > down[2]  # yellow  # noqa: PT018


def test_unknown_is_black_and_a_common_scale_darkens_what_exceeds_it():
    flow = _everywhere()
    flow[5, 5] = np.nan
    colours = to_colours(flow)
    assert (colours[5, 5] == 0).all()
    assert (to_colours(flow, largest=2.0)[20, 60] <= 0.75 * 255).all()
    assert (to_colours(np.zeros((3, 4, 2))) == 255).all()
    assert (to_colours(np.full((3, 4, 2), np.nan)) == 0).all()


def test_errors_are_brighter_and_unknown_ones_grey():
    truth = np.zeros((2, 4, 2), np.float32)
    flow = truth.copy()
    flow[0, :, 0] = [0, 3, 10, 100]
    flow[1, 0] = np.nan
    picture = error_map(flow, truth).astype(int)
    brightness = picture.sum(-1)[0]
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]
    assert (picture[1, 0] == 128).all()


def test_warping_fetches_the_next_frame():
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    following = np.roll(frame, (2, 5), (0, 1))
    flow = np.full((20, 30, 2), [5, 2], np.float32)
    flow[4, 4] = np.nan
    back = warp(following, flow)
    inside = np.ones((20, 30), bool)
    inside[18:] = inside[:, 25:] = inside[4, 4] = False
    assert (back[inside] == frame[inside]).all()
    assert (back[4, 4] == 0).all()
