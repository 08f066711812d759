from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nic_lightning.layers.modulation import ConditionalAffine, ModulationNet


@pytest.mark.parametrize("lmbda", [1e-6, 1.0, 64.0, 2048.0, 4096.0])
def test_factors_are_positive_for_every_lambda(lmbda):
    torch.manual_seed(0)
    net = ModulationNet(16, 4096.0)
    with torch.no_grad():
        net.output.weight.mul_(30)
    factors = net(lmbda)
    assert factors.shape == (1, 16, 1, 1)
    assert (factors > 0).all()
    assert factors.isfinite().all()


def test_the_largest_lambda_enters_as_one():
    torch.manual_seed(0)
    net = ModulationNet(5, 2048.0, hidden=7)
    seen = []
    net.hidden.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].item()))
    expected = torch.exp(net.output(F.relu(net.hidden(torch.ones(1, 1)))))
    torch.testing.assert_close(net(2048.0).flatten(), expected.flatten())
    net(512.0)
    assert seen[1:] == [1.0, 0.25]


def test_a_zero_last_layer_gives_factors_of_exactly_one():
    net = ModulationNet(5, 100.0)
    torch.nn.init.zeros_(net.output.weight)
    assert torch.equal(net(17.0), torch.ones(1, 5, 1, 1))


def test_sizes_of_the_released_code():
    assert sum(p.numel() for p in ModulationNet(192, 4096.0).parameters()) == 59_352 // 6


def test_factors_are_float32_under_autocast():
    net = ModulationNet(4, 4096.0)
    expected = net(100.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net(100.0), expected)


def test_gradients_reach_both_layers():
    torch.manual_seed(0)
    net = ModulationNet(4, 64.0)
    net(64.0).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in (net.output.weight, net.output.bias, net.hidden.weight))


def test_conditional_affine_starts_as_the_identity():
    layer, x = ConditionalAffine(3, 4), torch.randn(2, 3, 5, 5)
    for level in range(4):
        torch.testing.assert_close(layer(x, level), x, rtol=1e-6, atol=1e-6)


def test_conditional_affine_uses_one_row_a_level():
    layer, x = ConditionalAffine(3, 2), torch.randn(2, 3, 5, 5)
    with torch.no_grad():
        layer.scale[1] = torch.tensor([-1.0, 0.0, 2.0])
        layer.bias[1] = torch.tensor([1.0, 2.0, 3.0])
    expected = x * F.softplus(layer.scale[1]).view(1, 3, 1, 1) + layer.bias[1].view(1, 3, 1, 1)
    torch.testing.assert_close(layer(x, 1), expected)
    layer(x, 1).sum().backward()
    assert layer.scale.grad is not None
    assert not layer.scale.grad[0].any()
    assert layer.scale.grad[1].any()


def test_conditional_affine_builds_on_the_meta_device():
    with torch.device("meta"):
        assert ConditionalAffine(3, 2)(torch.empty(1, 3, 2, 2), 1).shape == (1, 3, 2, 2)


def test_a_log_input_spreads_the_ladder_over_zero_to_one():
    net = ModulationNet(5, 512.0, log_from=64.0)
    seen = []
    net.hidden.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].item()))
    for lmbda in (64.0, 128.0, 256.0, 512.0):
        net(lmbda)
    assert seen == pytest.approx([0, 1 / 3, 2 / 3, 1])
    ModulationNet(5, 64.0, log_from=64.0)(64.0)  # one lambda has no ladder


def test_one_lambda_an_image_gives_the_factors_of_each():
    torch.manual_seed(0)
    net = ModulationNet(5, 2048.0, hidden=7, log_from=64.0)
    factors = net(torch.tensor([64.0, 300.0]))
    assert factors.shape == (2, 5, 1, 1)
    torch.testing.assert_close(factors, torch.cat([net(64.0), net(300.0)]))
