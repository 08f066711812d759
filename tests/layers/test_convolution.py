from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nic_lightning.layers.convolution import RdftKernel, SubpixelDeconv, conv, deconv, use_rdft


@pytest.mark.parametrize(("kernel", "stride"), [(9, 4), (5, 2), (3, 1), (5, 1)])
def test_sizes_round_up_and_come_back(kernel, stride):
    down, up = conv(2, 3, kernel, stride), deconv(3, 2, kernel, stride)
    for side in (1, 2, 5, 16, 17, 33):
        y = down(torch.zeros(1, 2, side, side + 1))
        assert y.shape[-2:] == (math.ceil(side / stride), math.ceil((side + 1) / stride))
        assert up(y).shape[-2:] == (y.shape[-2] * stride, y.shape[-1] * stride)


def test_first_output_sample_is_aligned_with_the_first_input_sample():
    layer = conv(1, 1, 5, 2, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 2, 2] = 1.0
    x = torch.arange(36.0).view(1, 1, 6, 6)
    torch.testing.assert_close(layer(x), x[:, :, ::2, ::2])


@pytest.mark.parametrize("make", [conv, deconv])
def test_kernels_start_with_variance_one_over_fan_in(make):
    torch.manual_seed(0)
    channels_in, channels_out, kernel = 64, 96, 5
    layer = make(channels_in, channels_out, kernel, 2)
    variance = 1 / (channels_in * kernel * kernel)  # of the input's channels, for transposed kernels too
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert layer.weight.abs().max().item() <= 2 * math.sqrt(variance) / 0.8796 * (1 + 1e-6)  # tails are cut
    assert layer.bias is not None
    assert not layer.bias.any()
    assert make(2, 3, 5, 2, bias=False).bias is None


@pytest.mark.parametrize("size", [2, 3, 5, 8, 9])
def test_fourier_basis_is_orthonormal_and_real(size):
    basis = RdftKernel(size).basis
    torch.testing.assert_close(basis @ basis.t(), torch.eye(size * size), rtol=0, atol=1e-5)
    torch.testing.assert_close(basis[0], torch.full((size * size,), 1 / size))  # the first row is the mean


def test_fourier_kernels_are_the_same_function_with_as_many_parameters():
    torch.manual_seed(0)
    plain = nn.Sequential(conv(3, 4, 9, 4), deconv(4, 3, 5, 2))
    x = torch.randn(1, 3, 16, 16)
    before, count = plain(x), sum(p.numel() for p in plain.parameters())
    kernel = plain[0].weight.detach().clone()
    use_rdft(plain)
    torch.testing.assert_close(plain(x), before, rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in plain.parameters()) == count
    stored = plain[0].parametrizations.weight.original
    assert not torch.allclose(stored, kernel)  # coefficients, not taps
    torch.testing.assert_close(stored.norm(), kernel.norm())
    plain(x).sum().backward()
    assert stored.grad is not None


def test_fourier_kernels_survive_a_state_dict():
    torch.manual_seed(0)
    source, target = nn.Sequential(conv(2, 2, 5)), nn.Sequential(conv(2, 2, 5))
    use_rdft(source)
    use_rdft(target)
    assert not any("basis" in key for key in source.state_dict())
    target.load_state_dict(source.state_dict())
    torch.testing.assert_close(source[0].weight, target[0].weight)


@pytest.mark.parametrize(("kernel", "stride"), [(9, 4), (5, 2), (3, 2), (7, 3)])
def test_subpixel_deconvolution_is_the_transposed_convolution_in_value_and_gradient(kernel, stride):
    torch.manual_seed(0)
    layer = deconv(6, 3, kernel, stride).double()
    nn.init.normal_(layer.bias)
    plain = nn.ConvTranspose2d(6, 3, kernel, stride, kernel // 2, output_padding=stride - 1).double()
    plain.load_state_dict(layer.state_dict())
    assert isinstance(layer, SubpixelDeconv)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    ours, theirs = layer(x), plain(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, [x, *layer.parameters()], weights),
        torch.autograd.grad(theirs, [x, *plain.parameters()], weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
