"""The order of training samples: a pure function of (seed, epoch, rank, world size)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) pairs; the image is index modulo `images`, and every pair is a crop of its own.

    An epoch shuffles whole passes over the images and takes the first `samples` of them, which are dealt
    out to the ranks in turn. Ranks get equally many; what does not divide is left for another epoch's
    order.

    Workers learn the epoch from the pair, so that they hold no state. To resume in the middle of an epoch
    set `epoch` and `start`, the number of samples that this rank has already seen; `set_epoch` of another
    epoch forgets `start`. With `repeat` every epoch yields the pairs of the first.
    """

    def __init__(
        self, images: int, samples: int, seed: int, rank: int = 0, world_size: int = 1, repeat: bool = False
    ) -> None:
        self.images = images
        self.samples = samples
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.repeat = repeat
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, whatever `start` is."""
        return self.samples // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; the current one keeps its place. The trainer calls this."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def order(self, epoch: int) -> list[int]:
        """All indices of this rank in that epoch."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
        passes = -(-self.samples // self.images)
        shuffled = torch.randperm(passes * self.images, generator=generator)[: len(self) * self.world_size]
        return shuffled[self.rank :: self.world_size].tolist()

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The pairs of the current epoch from `start` on."""
        shown = 0 if self.repeat else self.epoch
        for index in self.order(shown)[self.start :]:
            yield shown, index
