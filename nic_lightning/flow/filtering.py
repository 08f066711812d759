"""Bilateral filter of a cost volume (thesis section 5.5, after Mozerov and van de Weijer, IEEE TIP 2015).

Each label's slice is averaged over a window, by nearness and by likeness of colour in the reference frame. The weights
of a pixel are whole numbers that sum to 256, so sums of 8-bit costs fit into 16 bits and a constant volume stays what
it is. The thesis gives neither window nor widths; these are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import get_num_threads, njit, prange

from nic_lightning.errors import UserError
from nic_lightning.flow.threads import share_threads

TILE = 512
GROUP = 8  # neighbours at a time


@dataclass(frozen=True)
class BilateralFilter:
    """Window of (2 * radius + 1)^2 pixels; sigmas in pixels of the working scale and in distance of [0, 1] colours."""

    radius: int = 3
    sigma_space: float = 3.0
    sigma_colour: float = 0.05

    def __post_init__(self) -> None:
        if not (1 <= self.radius <= 7 and self.sigma_space > 0 and self.sigma_colour > 0):
            raise UserError(
                f"A bilateral filter has a radius of 1 to 7 and positive sigmas, "
                f"not {self.radius}, {self.sigma_space}, {self.sigma_colour}."
            )


def filter_costs(volume: np.ndarray, image: np.ndarray, settings: BilateralFilter) -> np.ndarray:
    """Filter `volume` (h, w, n, n) uint8 in place, guided by `image` (h, w, 3) float32 in [0, 1]; return `volume`."""
    share_threads()
    height, width, n, _ = volume.shape
    weights = bilateral_weights(image, settings)
    _filter(volume.reshape(height, width, n * n), weights, get_num_threads())
    return volume


def bilateral_weights(image: np.ndarray, settings: BilateralFilter) -> np.ndarray:
    """Weights of the window around each pixel of `image` (h, w, 3): (h, w, window, window) uint16, of sum 256.

    Their running sum is rounded, so each is off by less than 1/256. Beyond the frame they are 0.
    """
    radius, (height, width) = settings.radius, image.shape[:2]
    size = 2 * radius + 1
    padded = np.pad(image.astype(np.float32), ((radius, radius), (radius, radius), (0, 0)), constant_values=np.inf)
    weights = np.zeros((height, width, size * size))
    for j in range(size):
        for i in range(size):
            distance = np.square(padded[j : j + height, i : i + width] - image).sum(-1)
            near = ((j - radius) ** 2 + (i - radius) ** 2) / (2 * settings.sigma_space**2)
            weights[:, :, j * size + i] = np.exp(-distance / (2 * settings.sigma_colour**2) - near)
    sums = weights.cumsum(-1)
    sums = np.floor(256 * sums / sums[:, :, -1:] + 0.5)
    return np.diff(sums, axis=-1, prepend=0).astype(np.uint16).reshape(height, width, size, size)


@njit(parallel=True, cache=True)
def _filter(volume, weights, workers):  # pragma: no cover: compiled
    height, width, labels = volume.shape
    size = weights.shape[2]
    for worker in prange(workers):
        costs = np.zeros((height * width, TILE), np.uint8)
        sums = np.empty(TILE, np.uint16)
        near = np.zeros(size * size + GROUP, np.int64)
        weight = np.zeros(size * size + GROUP, np.uint16)
        for first in range(worker * TILE, labels, workers * TILE):
            last = min(labels, first + TILE)
            for pixel in range(height * width):
                source, copy = volume[pixel // width, pixel % width, first:last], costs[pixel]
                for label in range(source.size):
                    copy[label] = source[label]
            for pixel in range(height * width):
                y, x = pixel // width, pixel % width
                taps = _taps(weights[y, x], y, x, width, near, weight)
                sums[:] = 128
                for k in range(0, taps, GROUP):
                    _accumulate(costs, near, weight, k, sums)
                target = volume[y, x, first:last]
                for label in range(target.size):
                    target[label] = sums[label] >> 8


@njit(cache=True)
def _taps(weights, y, x, width, near, weight):  # pragma: no cover: compiled
    """The neighbours of weight above 0, and their weights; a last group is filled with zeros."""
    size = weights.shape[0]
    taps = 0
    for j in range(size):
        for i in range(size):
            if weights[j, i]:
                near[taps] = (y + j - size // 2) * width + x + i - size // 2
                weight[taps] = weights[j, i]
                taps += 1
    near[taps : taps + GROUP] = 0
    weight[taps : taps + GROUP] = 0
    return taps


@njit(cache=True)
def _accumulate(costs, near, weight, at, sums):  # pragma: no cover: compiled
    """One read and write of the sums for GROUP neighbours; 16 bits hold 256 * 254 + 128."""
    a, b, c, d, e, f, g, h = (
        near[at],
        near[at + 1],
        near[at + 2],
        near[at + 3],
        near[at + 4],
        near[at + 5],
        near[at + 6],
        near[at + 7],
    )
    wa, wb, wc, wd, we, wf, wg, wh = (
        weight[at],
        weight[at + 1],
        weight[at + 2],
        weight[at + 3],
        weight[at + 4],
        weight[at + 5],
        weight[at + 6],
        weight[at + 7],
    )
    for k in range(TILE):
        sums[k] += (
            np.uint16(wa * costs[a, k])
            + np.uint16(wb * costs[b, k])
            + np.uint16(wc * costs[c, k])
            + np.uint16(wd * costs[d, k])
            + np.uint16(we * costs[e, k])
            + np.uint16(wf * costs[f, k])
            + np.uint16(wg * costs[g, k])
            + np.uint16(wh * costs[h, k])
        )
