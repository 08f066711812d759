"""Crops, padding and flips."""

from __future__ import annotations

import numpy as np
import torch

from nic_lightning.data.transforms import center_crop, draws, pad_to, random_crop
from nic_lightning.media.image.memory import to_tensor


def test_draws_follow_from_their_arguments_on_every_machine():
    assert draws(0, 0, 0) == (10166794049763856378, 1461050090833143859, 10276591963310492722)
    seen = {draws(seed, epoch, index) for seed in range(4) for epoch in range(4) for index in range(50)}
    assert len(seen) == 800


def test_crops_reach_every_place_about_equally_often():
    pixels = np.zeros((9, 6, 3), np.uint8)
    pixels[..., 0] = np.arange(9)[:, None]
    pixels[..., 1] = np.arange(6)[None]
    corners = [tuple(random_crop(pixels, 4, 0, 0, index)[0, 0, :2]) for index in range(3600)]
    counts = np.bincount([6 * int(row) + int(column) for row, column in corners])
    places = counts[counts > 0]
    assert len(places) == 6 * 3
    assert places.min() > 130
    assert places.max() < 280


def test_flip_mirrors_about_half_and_is_off_by_default():
    pixels = np.arange(4, dtype=np.uint8)[None, :, None] * np.ones((4, 1, 3), np.uint8)
    flipped = sum(random_crop(pixels, 4, 0, 0, index, flip=True)[0, 0, 0] == 3 for index in range(1000))
    assert 430 < flipped < 570
    assert all(random_crop(pixels, 4, 0, 0, index)[0, 0, 0] == 0 for index in range(50))


def test_small_images_are_padded_by_reflection():
    row = np.array([[[1], [2], [3]]], np.uint8).repeat(3, axis=2)
    padded = pad_to(row, 5)
    assert padded.shape == (5, 5, 3)
    assert padded[0, :, 0].tolist() == [1, 2, 3, 2, 1]
    assert (padded[4] == padded[0]).all()
    assert random_crop(row, 7, 0, 0, 0).shape == (7, 7, 3)
    assert pad_to(row, 1) is row


def test_the_centre_crop_keeps_a_shorter_side_whole():
    pixels = np.zeros((10, 4, 3), np.uint8)
    pixels[3:7] = 1
    assert center_crop(pixels, 4).all()
    assert center_crop(pixels, 6).shape == (6, 4, 3)


def test_tensors_are_planes_between_0_and_1():
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[1, 2] = (255, 0, 51)
    tensor = to_tensor(pixels[:, ::-1])
    assert tensor.shape == (3, 2, 3)
    assert tensor.dtype == torch.float32
    assert tensor[:, 1, 0].tolist() == [1.0, 0.0, torch.tensor(51 / 255).item()]
