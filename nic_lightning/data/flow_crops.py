"""Crops of three frames with whole-pixel matches, as the flow's feature network is trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from nic_lightning.data.datasets import MIB, ImageFolder
from nic_lightning.data.flow_sets import FlowItem
from nic_lightning.data.images import probe
from nic_lightning.data.motion import Scene, moving_photograph
from nic_lightning.data.transforms import draws
from nic_lightning.errors import DataError
from nic_lightning.flow.features import RADIUS, network_input, shrink

_MARGIN = 3
"""Pixels of the working scale around a crop in a made scene, on each side beside what the features see."""


class FlowCrop(NamedTuple):
    """One training sample of `s` pixels a side at the working scale; collated, each field gets a batch dimension.

    The three crops follow the motion of one pixel, so that what moves like it is at the same place in all.
    """

    previous: Tensor
    """Input of the network, (3, s + 8, s + 8) float32; zeros where there is no such frame."""
    current: Tensor
    following: Tensor
    motion: Tensor
    """Rounded motion of each pixel from this crop to the following one, x and y, (2, s, s) int64; 0 where unknown."""
    known: Tensor
    """(s, s) bool, where it is known."""
    visible: Tensor
    """(s, s) bool, where it is known, and the pixel's match can be seen in the following crop."""
    has_previous: Tensor
    """() bool."""


@dataclass(frozen=True)
class Prepared:
    """A scene at the working scale, (h, w)."""

    previous: NDArray[np.float32] | None
    """What the network sees of the frame, (h + 8, w + 8, 3)."""
    current: NDArray[np.float32]
    following: NDArray[np.float32]
    flow: NDArray[np.float32]
    """(h, w, 2) in pixels of the working scale, NaN where unknown."""
    hidden: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        parts = (self.previous, self.current, self.following, self.flow, self.hidden)
        return sum(part.nbytes for part in parts if part is not None)


class FlowSource:
    """Photographs that are set in motion, and frames with true flow.

    Args:
        photographs: may be None where there are frames.
        frames: of data sets with true flow.
        repeats: how often each of the frames counts for each photograph.
        ratio: full-size pixels to one of the working scale.
        cache_mb: MiB of frames to keep in memory, at the working scale.
    """

    def __init__(
        self,
        photographs: ImageFolder | None,
        frames: list[FlowItem],
        repeats: int = 1,
        ratio: int = 3,
        cache_mb: int = 0,
    ) -> None:
        self.photographs, self.frames, self.repeats, self.ratio = photographs, frames, repeats, ratio
        self._photos = 0 if photographs is None else len(photographs)
        scenes = sorted({item.scene for item in frames})
        self.name = "+".join([*([photographs.name] if photographs else []), *scenes])[:100]
        self._budget, self._kept = cache_mb * MIB, {}

    def __len__(self) -> int:
        return self._photos + self.repeats * len(self.frames)

    @property
    def has_previous(self) -> bool:
        """Whether any frame has one before."""
        return self._photos > 0 or any(item.has_previous for item in self.frames)

    @property
    def cached(self) -> tuple[int, int]:
        """Photographs held in memory, and their bytes: frames are kept only when they were used."""
        return (0, 0) if self.photographs is None else self.photographs.cached

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of the photographs and of the frames, at the working scale."""
        full = [] if self.photographs is None else list(self.photographs.sizes)
        full += [probe(item.current) for item in self.frames]
        return [(height // self.ratio, width // self.ratio) for height, width in full]

    def scene(self, index: int, side: int, generator: torch.Generator, **motion: Any) -> Prepared:
        """Frames `index`, or photograph `index` in `side` x `side` pixels of the working scale, set in motion."""
        if index >= self._photos:
            return self._frames((index - self._photos) % len(self.frames))
        assert self.photographs is not None
        other = int(torch.randint(self._photos, (), generator=generator))
        photo, front = self.photographs.pixels(index), self.photographs.pixels(other)
        return prepare(moving_photograph(photo, front, side * self.ratio, generator, **motion), self.ratio)

    def _frames(self, number: int) -> Prepared:
        if number not in self._kept:
            found = prepare(scene_of(self.frames[number]), self.ratio)
            if found.nbytes > self._budget:
                return found
            self._budget -= found.nbytes
            self._kept[number] = found
        return self._kept[number]


class FlowCrops(Dataset[FlowCrop]):
    """Training samples, indexed by `EpochSampler`'s pairs; a sample follows from (seed, epoch, index) alone.

    Args:
        source: what is cut from.
        crop: side in pixels of the working scale.
        seed: of all draws.
        motion: arguments of `moving_photograph`.
    """

    def __init__(self, source: FlowSource, crop: int, seed: int, **motion: Any) -> None:
        self.source, self.crop, self.seed, self.motion = source, crop, seed, motion

    def __getitem__(self, index: tuple[int, int]) -> FlowCrop:
        epoch, sample = index
        generator = torch.Generator().manual_seed(draws(self.seed, epoch, sample)[0] % 2**63)
        side = self.crop + 2 * (RADIUS + _MARGIN)
        scene = self.source.scene(sample % len(self.source), side, generator, **self.motion)
        return cut(scene, self.crop, generator)


class FlowScenes(Dataset[Scene]):
    """Whole frames to validate on; photographs are set in motion always in the same way.

    Args:
        photographs: these, or
        frames: those.
        side: of scenes made from photographs, in pixels of full size.
        motion: arguments of `moving_photograph`.
    """

    def __init__(self, photographs: ImageFolder | None, frames: list[FlowItem], side: int = 288, **motion: Any) -> None:
        self.photographs, self.frames, self.side, self.motion = photographs, frames, side, motion
        self.cached = (0, 0) if photographs is None else photographs.cached

    def __len__(self) -> int:
        return len(self.frames) if self.photographs is None else len(self.photographs)

    def __getitem__(self, index: int) -> Scene:
        if self.photographs is None:
            return scene_of(self.frames[index])
        generator = torch.Generator().manual_seed(index)
        photo, front = self.photographs.pixels(index), self.photographs.pixels((index + 1) % len(self))
        name = self.photographs.names[index]
        return moving_photograph(photo, front, self.side, generator, **self.motion, name=name)


def scene_of(item: FlowItem) -> Scene:
    """Frames and truth of a data set's item; what its authors call invalid counts as hidden.

    Where a set says nothing of hidden pixels, like Middlebury, none are.
    """
    previous, current, following, _ = item.frames()
    truth = item.truth()
    if truth.flow.shape[:2] != current.shape[:2]:
        raise DataError(f"{item.flow} and {item.current} differ in size.")
    hidden = np.zeros(current.shape[:2], np.bool_) if truth.occluded is None else truth.occluded.copy()
    if truth.invalid is not None:
        hidden |= truth.invalid
    return Scene(item.name, previous, current, following, truth.flow, hidden)


def prepare(scene: Scene, ratio: int) -> Prepared:
    """A scene at the working scale: the flow of a pixel there is that of the middle one of its block."""
    frames = (scene.previous, scene.current, scene.following)
    seen = [None if frame is None else network_input(shrink(frame, ratio)) for frame in frames]
    height, width = (length // ratio for length in scene.flow.shape[:2])
    middle = slice((ratio - 1) // 2, None, ratio)
    flow, hidden = scene.flow[middle, middle][:height, :width], scene.hidden[middle, middle][:height, :width]
    previous, current, following = seen
    assert current is not None
    assert following is not None
    return Prepared(previous, current, following, flow / np.float32(ratio), hidden)


def cut(scene: Prepared, side: int, generator: torch.Generator) -> FlowCrop:
    """A random crop around a pixel whose match is visible, or as near to it as leaves room for those before and after.

    Raises:
        DataError: the frames are smaller than the crop.
    """
    height, width = scene.flow.shape[:2]
    if min(height, width) < side:
        raise DataError(
            f"Frames are {width}x{height} pixels at the working scale, and crops {side}x{side}: lower data.crop or "
            "data.ratio."
        )
    limits = np.array([width - side, height - side])
    known = np.isfinite(scene.flow).all(-1)
    motion = np.where(known[..., None], np.rint(np.nan_to_num(scene.flow)), 0).astype(np.int64)
    candidates = np.flatnonzero(known & ~scene.hidden)
    place = int(torch.randint(max(len(candidates), 1), (), generator=generator))
    y, x = divmod(int(candidates[place]) if len(candidates) else 0, width)
    room = np.minimum(np.abs(motion[y, x]), limits // 2)  # for the crops before and after, where the frame has it
    start = np.clip(np.array([x, y]) - side // 2, room, limits - room)
    ahead = np.clip(start + motion[y, x], 0, limits)
    before = 2 * start - ahead
    here = (slice(start[1], start[1] + side), slice(start[0], start[0] + side))
    relative = motion[here] - (ahead - start)
    line = np.arange(side)
    ends = relative + np.stack(np.meshgrid(line, line), -1)
    visible = known[here] & ~scene.hidden[here] & ((ends >= 0) & (ends < side)).all(-1)
    has_previous = scene.previous is not None and bool(((before >= 0) & (before <= limits)).all())
    return FlowCrop(
        previous=_input(scene.previous if has_previous else None, before, side),
        current=_input(scene.current, start, side),
        following=_input(scene.following, ahead, side),
        motion=torch.from_numpy(np.where(known[here][..., None], relative, 0).transpose(2, 0, 1).copy()),
        known=torch.from_numpy(known[here].copy()),
        visible=torch.from_numpy(visible),
        has_previous=torch.tensor(has_previous),
    )


def _input(image: NDArray[np.float32] | None, start: NDArray[np.int64], side: int) -> Tensor:
    size = side + 2 * RADIUS
    if image is None:
        return torch.zeros(3, size, size)
    part = image[start[1] : start[1] + size, start[0] : start[0] + size]
    return torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1), dtype=np.float32))
