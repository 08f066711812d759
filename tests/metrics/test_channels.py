from __future__ import annotations

import pytest
import torch

from nic_lightning.metrics.channels import ChannelRates, channel_rates
from nic_lightning.metrics.rate import bpp


def _likelihoods(seed: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {"y": torch.rand(1, 5, 4, 6, generator=draw) * 0.9 + 0.05, "z": torch.rand(1, 2, 3, generator=draw) + 0.01}


def test_channels_sum_to_the_rate_and_ranks_add_up() -> None:
    images = [_likelihoods(seed) for seed in range(3)]
    whole, ranks = ChannelRates(), [ChannelRates(), ChannelRates(), ChannelRates()]
    for i, image in enumerate(images):
        for latent, rates in channel_rates(image, 16 * 24).items():
            whole.add("mae", "kodak", "64", latent, rates)
            ranks[i % 2].add("mae", "kodak", "64", latent, rates)
    entries = whole.entries()
    assert [(entry["latent"], entry["images"], len(entry["bpp"])) for entry in entries] == [("y", 3, 5), ("z", 3, 2)]
    mean = sum(float(bpp(image, (16, 24))) for image in images) / 3
    assert sum(rate for entry in entries for rate in entry["bpp"]) == pytest.approx(mean, rel=1e-4)
    merged = ChannelRates().merge(ranks).entries()
    assert [entry | {"bpp": None} for entry in merged] == [entry | {"bpp": None} for entry in entries]
    for one, other in zip(merged, entries, strict=True):
        assert one["bpp"] == pytest.approx(other["bpp"], rel=1e-4)
