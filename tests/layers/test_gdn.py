from __future__ import annotations

import pytest
import torch
from compressai.layers import GDN as ReferenceGdn

from nic_lightning.layers.gdn import GDN, LowerBound, nonnegative, to_storage

CHANNELS = 7


def pair(inverse: bool, dtype=torch.float32) -> tuple[GDN, ReferenceGdn]:
    """Ours and CompressAI's with the same random parameters, some of them at their bounds."""
    torch.manual_seed(0)
    ours = GDN(CHANNELS, inverse).to(dtype)
    with torch.no_grad():
        ours.gamma.copy_(to_storage(0.2 * torch.rand(CHANNELS, CHANNELS)))
        ours.gamma[0, 1] = -1.0  # below the bound
        ours.beta.copy_(to_storage(0.5 + torch.rand(CHANNELS)))
        ours.beta[3] = 0.0
    reference = ReferenceGdn(CHANNELS, inverse).to(dtype)
    reference.load_state_dict(ours.state_dict(), strict=False)
    return ours, reference


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 1, 1), (3, 1, 4)])
def test_equals_compressai_in_value_and_every_gradient(inverse, memory_format, shape):
    ours, reference = pair(inverse)
    n, h, w = shape
    x = (3 * torch.randn(n, CHANNELS, h, w)).contiguous(memory_format=memory_format)
    weight = torch.randn(n, CHANNELS, h, w)
    results = []
    for layer in (ours, reference):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        (y * weight).sum().backward()
        results.append((y.detach(), leaf.grad, layer.gamma.grad, layer.beta.grad))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_are_those_of_finite_differences(inverse):
    ours, _ = pair(inverse, torch.float64)
    x = torch.randn(2, CHANNELS, 2, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():  # finite differences see the kink of a bound
        ours.gamma.clamp_(min=0.05)
        ours.beta.clamp_(min=0.1)

    def run(x, gamma, beta):
        return torch.func.functional_call(ours, {"gamma": gamma, "beta": beta}, (x,))

    assert torch.autograd.gradcheck(run, (x, ours.gamma.detach().requires_grad_(), ours.beta.detach().requires_grad_()))


@pytest.mark.parametrize("frozen", [("gamma",), ("beta",), ("gamma", "beta"), ("x",), ("x", "gamma"), ("x", "beta")])
def test_a_frozen_part_does_not_silence_the_others(frozen):
    ours, reference = pair(False)
    x = torch.randn(2, CHANNELS, 3, 3)
    gradients = []
    for layer in (ours, reference):
        leaf = x.clone().requires_grad_("x" not in frozen)
        layer.gamma.requires_grad_("gamma" not in frozen)
        layer.beta.requires_grad_("beta" not in frozen)
        layer(leaf).square().sum().backward()
        gradients.append((leaf.grad, layer.gamma.grad, layer.beta.grad))
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_mixed_memory_formats_in_the_backward_pass():
    ours, reference = pair(False)
    x = torch.randn(2, CHANNELS, 4, 5).contiguous(memory_format=torch.channels_last)
    gradients = []
    for layer in (ours, reference):
        leaf = x.clone().requires_grad_()
        layer(leaf).backward(torch.ones(2, CHANNELS, 4, 5))  # a contiguous gradient meets channels-last features
        gradients.append((leaf.grad, layer.gamma.grad, layer.beta.grad))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("inverse", [False, True])
def test_large_features_stay_finite_under_autocast(dtype, inverse):
    layer = GDN(4, inverse)
    x = torch.full((1, 4, 2, 2), 300.0, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        y = layer(x)
    assert y.dtype == torch.float32
    y.sum().backward()
    assert y.isfinite().all()
    assert layer.gamma.grad is not None
    assert layer.gamma.grad.isfinite().all()


def test_state_dicts_are_interchangeable_with_compressai():
    for source, target in ((GDN(5), ReferenceGdn(5)), (ReferenceGdn(5), GDN(5))):
        with torch.no_grad():
            source.gamma.add_(0.01)
        shared = {k: v for k, v in source.state_dict().items() if k in target.state_dict()}
        assert {"gamma", "beta"} <= set(shared)
        target.load_state_dict(shared, strict=False)
        x = torch.randn(1, 5, 3, 3)
        torch.testing.assert_close(source(x), target(x))


def test_initial_parameters_are_those_of_the_released_code():
    layer = GDN(6)
    torch.testing.assert_close(nonnegative(layer.gamma), 0.1 * torch.eye(6), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(nonnegative(layer.beta, layer.beta_min), torch.ones(6))


def test_parameters_never_fall_below_their_minimum():
    raw = torch.linspace(-2, 2, 101, requires_grad=True)
    for minimum in (0.0, 1e-6, 0.1):
        # The pedestal is taken away again in float32, which leaves its rounding.
        assert (nonnegative(raw, minimum) >= minimum - 1e-11 - 1e-7 * minimum).all()
    torch.testing.assert_close(nonnegative(to_storage(torch.tensor([0.0, 0.3, 7.0]))), torch.tensor([0.0, 0.3, 7.0]))


def test_lower_bound_lets_gradients_through_that_lead_back():
    x = torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    LowerBound.apply(x, 1.0).backward(torch.tensor([1.0, -1.0, 1.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, -1.0, 1.0]


def test_shape_inference_on_the_meta_device():
    with torch.device("meta"):
        layer = GDN(4)
        assert layer(torch.empty(2, 4, 3, 5)).shape == (2, 4, 3, 5)


def test_says_what_it_is():
    assert "4, inverse=True" in repr(GDN(4, inverse=True))
