from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv, deconv
from nic_lightning.layers.gdn import GDN, nonnegative, to_storage
from nic_lightning.layers.slimmable import (
    SLIMMABLE_GDN,
    SlimGDN,
    SlimGDNPlus,
    SlimmableConv,
    SlimmableDeconv,
    rising_widths,
)

WIDTHS = (3, 5, 8)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(3, 5), (8, 8), (1, 1)])
def test_a_sliced_convolution_is_the_small_one(channels_in, channels_out):
    torch.manual_seed(0)
    wide = conv(8, 8, 5, 2, kind=SlimmableConv)
    torch.nn.init.normal_(wide.bias)
    x = torch.randn(2, channels_in, 9, 12)
    small = F.conv2d(x, wide.weight[:channels_out, :channels_in], wide.bias[:channels_out], 2, 2)
    assert torch.equal(wide(x, channels_out), small)


@pytest.mark.parametrize("channels_out", [3, 7])
def test_a_transposed_kernel_is_sliced_input_channels_first(channels_out):
    """Its axes are (in, out): a port that slices them the other way round still runs where both widths are equal."""
    torch.manual_seed(0)
    wide = deconv(8, 8, 5, 2, kind=SlimmableDeconv)
    torch.nn.init.normal_(wide.bias)
    x = torch.randn(2, 5, 6, 4)
    small = F.conv_transpose2d(x, wide.weight[:5, :channels_out], wide.bias[:channels_out], 2, 2, 1)
    torch.testing.assert_close(wide(x, channels_out), small)
    assert wide(x, channels_out).shape == (2, channels_out, 12, 8)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", SLIMMABLE_GDN)
def test_every_width_is_a_gdn_with_that_block(kind, inverse):
    torch.manual_seed(0)
    gdn = SLIMMABLE_GDN[kind](WIDTHS, inverse=inverse)
    with torch.no_grad():
        for parameter in gdn.parameters():
            parameter.add_(0.2 * torch.rand_like(parameter))
    for level, width in enumerate(WIDTHS):
        x = torch.randn(2, width, 4, 6)
        gamma, beta = gdn.block(width, level)
        norm = F.conv2d(x * x, gamma[:, :, None, None], beta).sqrt()
        torch.testing.assert_close(gdn(x, level), x * norm if inverse else x / norm)
        alone = GDN(width, inverse)
        with torch.no_grad():
            alone.gamma.copy_(to_storage(gamma))
            alone.beta.copy_(to_storage(beta))
        torch.testing.assert_close(gdn(x, level), alone(x), rtol=1e-5, atol=1e-6)


def test_modulated_sharing_begins_as_plain_sharing():
    plus, slim = SlimGDNPlus(WIDTHS), SlimGDN(WIDTHS)
    torch.nn.init.uniform_(slim.gamma)
    plus.load_state_dict(slim.state_dict(), strict=False)
    for level, width in enumerate(WIDTHS):
        x = torch.randn(1, width, 3, 3)
        assert torch.equal(plus(x, level), slim(x, level))


def test_the_modulated_block_is_the_released_codes():
    plus = SlimGDNPlus(WIDTHS)
    with torch.no_grad():
        for name, value in (("gamma_scale", 0.5), ("gamma_shift", 0.25), ("beta_scale", 2.0), ("beta_shift", 3.0)):
            getattr(plus, name)[1] = to_storage(torch.tensor(value))
    gamma, beta = plus.block(5, 1)
    torch.testing.assert_close(gamma, 0.5 * nonnegative(plus.gamma)[:5, :5] + 0.25)  # the shift reaches all entries
    torch.testing.assert_close(beta, 2 * torch.ones(5) + 3)
    untouched = plus.block(8, 2)
    torch.testing.assert_close(untouched[0], nonnegative(plus.gamma))


def test_a_scale_of_zero_leaves_beta_a_floor():
    plus = SlimGDNPlus(WIDTHS)
    torch.nn.init.zeros_(plus.beta_scale)
    x = torch.zeros(1, 5, 2, 2, requires_grad=True)
    y = plus(x, 1)
    y.sum().backward()
    assert plus.block(5, 1)[1].min() >= 1e-6
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_wrong_widths_are_named():
    assert rising_widths([4, 9]) == (4, 9)
    for wrong in ([], [4, 4], [9, 4], [0, 1], [1.5], [True]):
        with pytest.raises(UserError, match=r"codec\.widths"):
            rising_widths(wrong)
