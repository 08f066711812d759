"""Reference and moved frames, cut from a photograph that is larger, so that what enters the frame is real."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.analysis.latent_motion.motion import Motion, grid_places, sample
from nic_lightning.errors import UserError


class MovedFrames:
    """Frames of one photograph.

    The photograph is scaled, with an antialiasing filter, until its shorter side is the diagonal of a frame, so that no
    rotation shows what lies outside; the paper scales alike, and without a filter. The reference frame is its middle.
    Moved frames are sampled bicubically from the scaled photograph; shifts by whole pixels are crops. Black is outside.

    Args:
        photo: (3, H, W) in [0, 1].
        size: side of the square frames in pixels.
    """

    def __init__(self, photo: Tensor, size: int = 224) -> None:
        if size < 8:
            raise UserError(f"size is {size}; a frame has at least 8 pixels a side.")
        shorter = min(photo.shape[-2:])
        side = 2 * math.ceil(size * math.sqrt(2) / 2)
        shape = [max(side, round(length * side / shorter)) for length in photo.shape[-2:]]
        self._photo = F.interpolate(photo[None].float(), size=shape, mode="bicubic", antialias=True).clamp(0, 1)
        self.size = (size, size)
        height, width = self._photo.shape[-2:]
        self._origin = torch.tensor([(width - size) // 2, (height - size) // 2], dtype=torch.float64)

    @property
    def reference(self) -> Tensor:
        """(1, 3, size, size)."""
        x, y = (int(place) for place in self._origin)
        return self._photo[..., y : y + self.size[0], x : x + self.size[1]]

    def moved(self, motion: Motion) -> Tensor:
        """What the frame shows after each motion, (N, 3, size, size)."""
        places = motion.source(grid_places(*self.size)) + self._origin
        frames, _ = sample(self._photo.expand(len(motion), -1, -1, -1), places)
        return frames.clamp(0, 1)
