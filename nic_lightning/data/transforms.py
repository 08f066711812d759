"""Crops, padding and flips as pure functions of 8-bit pixels, shape (H, W, 3)."""

from __future__ import annotations

import hashlib

import numpy as np

from nic_lightning.media.image.pixels import Pixels


def draws(seed: int, epoch: int, index: int) -> tuple[int, int, int]:
    """Three independent uniform 64-bit integers that follow from (seed, epoch, index) alone.

    A hash, not a random generator: there is no state to seed, share or save, and it is the same on every
    platform and in every version of a library.
    """
    digest = hashlib.blake2b(f"{seed}/{epoch}/{index}".encode(), digest_size=24).digest()
    first, second, third = (int.from_bytes(digest[i : i + 8], "little") for i in (0, 8, 16))
    return first, second, third


def random_crop(pixels: Pixels, size: int, seed: int, epoch: int, index: int, *, flip: bool = False) -> Pixels:
    """Cut a square of `size` pixels whose place follows from (seed, epoch, index).

    With `flip` about every second crop is mirrored left to right. An image with a side below `size` is
    padded by reflection first.
    """
    pixels = pad_to(pixels, size)
    down, right, mirror = draws(seed, epoch, index)
    top = down % (pixels.shape[0] - size + 1)
    left = right % (pixels.shape[1] - size + 1)
    crop = pixels[top : top + size, left : left + size]
    return crop[:, ::-1] if flip and mirror % 2 else crop


def center_crop(pixels: Pixels, size: int) -> Pixels:
    """The middle `size` x `size` pixels; a shorter side is kept whole."""
    height, width = pixels.shape[:2]
    top, left = max(0, (height - size) // 2), max(0, (width - size) // 2)
    return pixels[top : top + size, left : left + size]


def pad_to(pixels: Pixels, size: int) -> Pixels:
    """Extend both sides to at least `size` pixels by reflection at the bottom and right edge."""
    missing = [max(0, size - length) for length in pixels.shape[:2]]
    if not any(missing):
        return pixels
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
