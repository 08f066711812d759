"""The bilateral filter of `flow.filtering`, some labels of all pixels at a time."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nic_lightning.flow.filtering import BilateralFilter, bilateral_weights

CELLS = 1 << 26  # costs filtered at a time; each takes 4 bytes besides


def filter_costs(volume: Tensor, image: np.ndarray, settings: BilateralFilter) -> Tensor:
    """Filter `volume` (h, w, n, n) uint8 in place, guided by `image` (h, w, 3) float32 in [0, 1]; return `volume`."""
    height, width, n, _ = volume.shape
    labels, radius = volume.view(height, width, n * n), settings.radius
    weights = torch.from_numpy(bilateral_weights(image, settings).astype(np.int16)).to(volume.device)
    step = max(1, CELLS // (height * width))
    for first in range(0, n * n, step):
        some = labels[:, :, first : first + step]
        costs = F.pad(some, (0, 0, radius, radius, radius, radius))
        sums = torch.full(some.shape, 128, dtype=torch.int16, device=volume.device)
        for j in range(2 * radius + 1):
            for i in range(2 * radius + 1):  # sums below 65536 wrap around, and back in the end
                sums.addcmul_(costs[j : j + height, i : i + width].short(), weights[:, :, j, i, None])
        some.copy_((sums >> 8) & 255)
    return volume
