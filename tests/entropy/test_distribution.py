from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nic_lightning.entropy.distribution import DistributionTransforms, shuffle, size_level
from nic_lightning.errors import UserError

PAPER = [((192, 256, 32, 16), 28_800, 10.47, (16, 32)), ((320, 1024, 64, 32), 97_280, 125.8, (32, 128))]
"""Channels, bins, hidden and side; weights of either network, multiplications a pixel of 512x768, shape of q."""


def weights(layers: nn.ModuleList) -> int:
    return sum(layer.weight.numel() for layer in layers)  # pyright: ignore


def multiplications(layers: nn.ModuleList, run, x: torch.Tensor) -> int:
    """Of a pass through the network: weights of a layer by its inputs' or outputs' places, whichever it walks over."""
    counted = []

    def count(layer, inputs, output):
        walks = inputs[0] if isinstance(layer, nn.ConvTranspose1d) else output
        counted.append(layer.weight.numel() * walks.shape[-1])

    handles = [layer.register_forward_hook(count) for layer in layers]
    run(x, 42)
    for handle in handles:
        handle.remove()
    return sum(counted)


@pytest.mark.parametrize(("shape", "count", "per_pixel", "q_shape"), PAPER)
def test_sizes_and_costs_are_those_of_the_paper(shape, count, per_pixel, q_shape):
    channels, bins, hidden, side = shape
    transforms = DistributionTransforms(channels, bins, hidden, side)
    assert weights(transforms.h_a) == weights(transforms.h_s) == count
    x = torch.zeros(1, channels, bins)
    q = transforms.analysis(x, 42)
    assert q.shape == (1, *q_shape)
    assert transforms.synthesis(q, 42).shape == x.shape
    for layers, run, given in ((transforms.h_a, transforms.analysis, x), (transforms.h_s, transforms.synthesis, q)):
        # printed to two, and to one, decimals
        assert multiplications(layers, run, given) / (512 * 768) == pytest.approx(per_pixel, rel=5e-4)


def test_at_the_start_the_size_has_no_effect_and_later_it_has():
    torch.manual_seed(0)
    transforms, x = DistributionTransforms(6, 32, 8, 4), torch.randn(2, 6, 32)
    q = transforms.analysis(x, 20)
    assert torch.equal(q, transforms.analysis(x, 80))
    assert torch.equal(transforms.synthesis(q, 20), transforms.synthesis(q, 80))
    with torch.no_grad():
        transforms.gain.fill_(1.0)
    # 8 levels are two octaves, and q is 2^2 times as fine; powers of two change no digit
    assert torch.equal(transforms.analysis(x, 48), 4 * transforms.analysis(x, 40))
    torch.testing.assert_close(
        transforms.synthesis(transforms.analysis(x, 48), 48), transforms.synthesis(transforms.analysis(x, 40), 40)
    )


def test_levels_are_quarters_of_octaves():
    assert [size_level(2**k) for k in (0, 1, 10, 24, 30)] == [0, 4, 40, 96, 96]
    assert all(size_level(n) == math.floor(4 * math.log2(n) + 1e-9) for n in range(1, 5000))
    assert size_level(0.2) == 0


def test_channels_that_groups_do_not_divide():
    for channels in (1, 5, 12):
        transforms = DistributionTransforms(channels, 16, 6, 3)
        q = transforms.analysis(torch.zeros(1, channels, 16), 40)
        assert transforms.synthesis(q, 40).shape == (1, channels, 16)


def test_shuffled_channels_come_from_all_groups():
    x = torch.arange(12.0)[None, :, None]
    assert shuffle(x, 3).flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@pytest.mark.parametrize("options", [{"bins": 12}, {"bins": 0}, {"kernel": 4}, {"side": 0}])
def test_options_that_make_no_network(options):
    with pytest.raises(UserError, match="give a multiple of 8 bins and an odd kernel"):
        DistributionTransforms(4, **options)
