from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nic_lightning.layers.convolution import SubpixelDeconv, conv, deconv, store_kernels
from nic_lightning.layers.gdn import GDN
from nic_lightning.layers.plain import plain_copy


@pytest.mark.parametrize("kernels", ["direct", "rdft"])
@torch.no_grad()
def test_the_copy_is_plain_and_computes_the_same(kernels: str) -> None:
    torch.manual_seed(0)
    layers = [conv(3, 6, 9, 4), GDN(6), conv(6, 6, 5, 2, bias=False), GDN(6, inverse=True), deconv(6, 6, 5, 2)]
    network = nn.Sequential(*layers, nn.Sequential(nn.ReLU(), deconv(6, 3, 9, 4)))
    for module in network.modules():
        if isinstance(module, GDN):
            module.gamma.add_(0.1 * torch.rand(6, 6))
    store_kernels(network, kernels)
    before = copy.deepcopy(network.state_dict())
    plain = plain_copy(network)

    kinds = {type(module) for module in plain.modules()}
    assert nn.ConvTranspose2d in kinds
    assert not kinds & {SubpixelDeconv, GDN}
    assert not any("parametrizations" in name for name in plain.state_dict())
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    x = torch.rand(2, 3, 32, 48)
    torch.testing.assert_close(plain(x), network(x), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_layers_of_other_kinds_are_kept() -> None:
    class Widened(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + 1

    network = nn.Sequential(Widened(3, 3, 1))
    assert type(plain_copy(network)[0]) is Widened
