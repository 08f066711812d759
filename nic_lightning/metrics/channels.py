"""Bits of each latent channel, gathered while an evaluation measures its images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


def channel_rates(likelihoods: Mapping[str, Tensor], pixels: int) -> dict[str, list[float]]:
    """Estimated bits per pixel of each channel, by latent, of one image of so many pixels; likelihoods (1, C, ...)."""
    return {
        latent: (-torch.log2(p.detach()).double().flatten(2).sum((0, 2)).cpu() / pixels).tolist()
        for latent, p in likelihoods.items()
    }


@dataclass
class ChannelRates:
    """Sums over images of the estimated bits per pixel of every channel, by codec, data set, point and latent."""

    sums: dict[tuple[str, str, str, str], tuple[Tensor, int]] = field(default_factory=dict)

    def add(self, codec: str, dataset: str, label: str, latent: str, rates: Sequence[float]) -> None:
        """One image's bits per pixel of the channels of one latent, as `channel_rates` gives them."""
        new = torch.tensor(rates, dtype=torch.float64)
        before, images = self.sums.get((codec, dataset, label, latent), (torch.zeros_like(new), 0))
        self.sums[codec, dataset, label, latent] = (before + new, images + 1)

    def merge(self, others: Iterable[ChannelRates]) -> ChannelRates:
        """These and other processes' sums, as one."""
        whole = ChannelRates(dict(self.sums))
        for other in others:
            for key, (rates, images) in other.sums.items():
                before, count = whole.sums.get(key, (torch.zeros_like(rates), 0))
                whole.sums[key] = (before + rates, count + images)
        return whole

    def entries(self) -> list[dict[str, Any]]:
        """Means over images, as `runs.channels.write_channel_rates` takes them."""
        names = ("codec", "dataset", "label", "latent")
        return [
            dict(zip(names, key, strict=True))
            | {"images": images, "bpp": [float(f"{rate:.5g}") for rate in (rates / images).tolist()]}
            for key, (rates, images) in self.sums.items()
        ]
