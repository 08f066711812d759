"""The processes that share an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from torch import distributed

from nic_lightning.callbacks.results_table import Row
from nic_lightning.metrics.channels import ChannelRates


@dataclass(frozen=True)
class Ranks:
    """The processes that share an evaluation: image i is measured by rank i modulo size."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> Ranks:
        """The ranks of the default process group; one rank where there is none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def together(self, channels: ChannelRates) -> ChannelRates:
        """The channel rates of all ranks."""
        return channels if self.size == 1 else ChannelRates().merge(self.gathered(channels))

    def gathered(self, value: Any) -> list[Any]:
        """What every rank gives, by rank."""
        if self.size == 1:
            return [value]
        shares: list[Any] = [None] * self.size
        distributed.all_gather_object(shares, value)
        return shares

    def in_order(self, images: list[list[Row]]) -> list[Row]:
        """The rows of all ranks, image by image, as one process would have made them."""
        turns = zip_longest(*self.gathered(images), fillvalue=[])
        return [row for turn in turns for image in turn for row in image]
