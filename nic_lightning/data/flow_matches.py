"""Sparse matches with the true flow between them, as interpolation networks for flow are trained on them.

The flow is a data set's, or that of photographs set in motion. Matches are made from it and not by the matcher, whose
search would take seconds for each crop: whole labels of the working scale, missing where the next frame hides the
pixel and in patches besides, wrong in a few spots. Sizes and shares of these are this project's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from nic_lightning.data.flow_crops import FlowSource, scene_of
from nic_lightning.data.flow_training import FlowDataModule
from nic_lightning.data.motion import Scene, moving_photograph
from nic_lightning.data.transforms import draws
from nic_lightning.errors import DataError
from nic_lightning.flow.consistency import matches
from nic_lightning.flow.interponet import SCALE, network_input

_FEWEST, _MOST = 0.3, 0.97
"""Share of the visible pixels that keep their match."""
_PATCH, _SPECKLE = 6, 0.3
"""Side of what is missing together, in pixels of the working scale, and how much single pixels matter beside it."""
_SPOTS, _SPOT = 4, 6
"""At most so many wrong spots of less than so many pixels a side."""


class MatchCrop(NamedTuple):
    """One training sample of s x s blocks of 8x8 pixels; collated, each field gets a batch dimension."""

    inputs: Tensor
    """(4, s, s), of `interponet.network_input`."""
    truth: Tensor
    """(2, s, s), mean true flow of each block, in pixels of 1/8; 0 where unknown."""
    known: Tensor
    """(s, s) bool."""


def simulated_matches(
    flow: NDArray[np.float32], hidden: NDArray[np.bool_], ratio: int, generator: torch.Generator
) -> NDArray[np.float32]:
    """Matches (n, 4) x, y, x', y' in pixels, as they leave the check.

    Args:
        flow: true flow (H, W, 2) in pixels, NaN where unknown.
        hidden: (H, W), what the next frame does not show; unmatched.
        ratio: full-size pixels to one of the working scale.
        generator: what is drawn follows from it.
    """
    middle = slice((ratio - 1) // 2, None, ratio)
    height, width = (side // ratio for side in flow.shape[:2])
    flow, hidden = flow[middle, middle][:height, :width], hidden[middle, middle][:height, :width]
    known = np.isfinite(flow).all(-1)
    labels = np.rint(np.where(known[..., None], flow, 0) / ratio).astype(np.int64)
    coarse = torch.rand(1, 1, height // _PATCH + 2, width // _PATCH + 2, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[0, 0]
    field = (smooth + _SPECKLE * torch.rand(height, width, generator=generator)).numpy()
    share = _FEWEST + (_MOST - _FEWEST) * float(torch.rand((), generator=generator))
    kept = known & ~hidden & (field <= np.quantile(field, share))
    reach = int(np.abs(labels).max(initial=0)) + 3
    for _ in range(int(torch.randint(_SPOTS + 1, (), generator=generator))):
        top, left, tall, wide = (
            int(torch.randint(limit, (), generator=generator)) for limit in (height, width, _SPOT, _SPOT)
        )
        spot = slice(top, top + tall), slice(left, left + wide)
        labels[spot] = torch.randint(-reach, reach + 1, (2,), generator=generator).numpy()
        kept[spot] = True
    return matches(labels, kept, ratio)


def crop_of(scene: Scene, side: int, ratio: int, generator: torch.Generator) -> MatchCrop:
    """A random crop of `side` x `side` pixels, a multiple of 8, with simulated matches."""
    height, width = scene.flow.shape[:2]
    if min(height, width) < side:
        raise DataError(f"Frames are {width}x{height} pixels, and crops {side}x{side}: lower data.crop.")
    top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in (height, width))
    here = slice(top, top + side), slice(left, left + side)
    flow, hidden = scene.flow[here], scene.hidden[here]
    inputs = network_input(scene.current[here], simulated_matches(flow, hidden, ratio, generator))
    blocks = flow.reshape(side // SCALE, SCALE, side // SCALE, SCALE, 2)
    there = np.isfinite(blocks).all(-1)
    counts = there.sum((1, 3))
    truth = np.where(there[..., None], blocks, 0).sum((1, 3)) / np.maximum(counts, 1)[..., None] / SCALE
    return MatchCrop(
        torch.from_numpy(inputs),
        torch.from_numpy(truth.transpose(2, 0, 1).astype(np.float32)),
        torch.from_numpy(counts > 0),
    )


class MatchCrops(Dataset[MatchCrop]):
    """Training samples, indexed by `EpochSampler`'s pairs; a sample follows from (seed, epoch, index) alone.

    Args:
        source: photographs and frames.
        side: of the crops in full-size pixels, a multiple of 8.
        seed: of all draws.
        motion: arguments of `moving_photograph`.
    """

    def __init__(self, source: FlowSource, side: int, seed: int, **motion: Any) -> None:
        self.source, self.side, self.seed, self.motion = source, side, seed, motion

    def __getitem__(self, index: tuple[int, int]) -> MatchCrop:
        epoch, sample = index
        generator = torch.Generator().manual_seed(draws(self.seed, epoch, sample)[0] % 2**63)
        scene = self._scene(sample % len(self.source), generator)
        return crop_of(scene, self.side, self.source.ratio, generator)

    def _scene(self, number: int, generator: torch.Generator) -> Scene:
        photographs, frames = self.source.photographs, self.source.frames
        count = 0 if photographs is None else len(photographs)
        if photographs is None or number >= count:
            return scene_of(frames[(number - count) % len(frames)])
        other = int(torch.randint(count, (), generator=generator))
        pixels = photographs.pixels(number), photographs.pixels(other)
        return moving_photograph(*pixels, self.side, generator, **self.motion)


class MatchesDataModule(FlowDataModule):
    """Training batches are `MatchCrop`s; everything else, validation too, is as `FlowDataModule` has it.

    Raises:
        DataError: in `setup`, crop times ratio is no multiple of 8; and as `FlowDataModule`.
    """

    def setup(self, stage: str | None = None) -> None:
        """Find frames, open photographs."""
        if self.crop * self.ratio % SCALE:
            raise DataError(
                f"data.crop times data.ratio has to be a multiple of {SCALE}, not {self.crop} x {self.ratio}."
            )
        super().setup(stage)

    def _training_set(self, images: Any) -> Any:
        return MatchCrops(images, self.crop * self.ratio, self.seed, **self.motion)
