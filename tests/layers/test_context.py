from __future__ import annotations

import math

import pytest
import torch

from nic_lightning.errors import UserError
from nic_lightning.layers.context import KERNEL, ORDERS, POSITIONS, ContextModel, ExactContext, mask_of, passes
from nic_lightning.layers.convolution import store_kernels

SIZES = [(1, 1), (1, 9), (9, 1), (2, 2), (4, 4), (7, 5), (5, 12)]


def model_of(order: str, kernel_param: str = "direct", channels: int = 6) -> ContextModel:
    """Away from its initial values."""
    torch.manual_seed(0)
    model = ContextModel(channels, levels=2, order=order, slope=0.2)
    store_kernels(model, kernel_param)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", SIZES)
def test_every_position_has_its_turn_after_all_that_it_sees(order, size):
    height, width = size
    turn = torch.full((height, width), -1)
    found = list(passes(order, height, width))
    for t, positions in enumerate(found):
        assert (turn.flatten()[positions] == -1).all()
        turn.view(-1)[positions] = t
    assert (turn >= 0).all()
    taps = (mask_of(order).nonzero() - KERNEL // 2).tolist()
    for i in range(height):
        for j in range(width):
            seen = [(i + di, j + dj) for di, dj in taps if 0 <= i + di < height and 0 <= j + dj < width]
            if order == "serial":
                assert all(turn[p] < turn[i, j] for p in seen)
            elif (i + j) % 2:  # the other colour sees nothing
                assert all(turn[p] < turn[i, j] for p in seen)
                assert len(seen) > 0
    if order == "serial":
        assert len(found) == len(turn.unique()) <= 3 * (height - 1) + width
    else:
        assert len(found) == (1 if height == width == 1 else 2)


def test_passes_are_few_and_of_bounded_size():
    assert len(list(passes("checkerboard", 32, 48))) == 2
    assert len(list(passes("serial", 32, 48))) == 3 * 31 + 48
    found = list(passes("checkerboard", 100, 101))
    assert max(map(len, found)) == POSITIONS
    assert len(found) == 2 * math.ceil(5050 / POSITIONS)


def test_the_masks():
    assert mask_of("serial").sum() == mask_of("checkerboard").sum() == 12
    assert mask_of("serial")[2].tolist() == [1, 1, 0, 0, 0]
    assert mask_of("checkerboard")[:2].tolist() == [[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]]
    with pytest.raises(UserError, match="checkerboard or serial"):
        mask_of("zigzag")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kernel_param", ["direct", "rdft"])
def test_pass_by_pass_is_the_masked_convolution(order, kernel_param):
    """The serial order's equals raster order, which the masked convolution of all latents at once stands for."""
    model = model_of(order, kernel_param).double()
    for level, w in enumerate((4, 6)):
        for height, width in SIZES:
            hyper = torch.randn(1, 2 * w, height, width, dtype=torch.float64)
            y_hat = torch.round(5 * torch.randn(1, w, height, width, dtype=torch.float64) * 256) / 256
            with torch.no_grad():
                means, scales = (v[0].flatten(1).t() for v in model(y_hat, hyper, level))
            exact = ExactContext(model, level, hyper)
            flat = y_hat[0].flatten(1).t()
            for positions in passes(order, height, width):
                found = exact.at(positions)
                torch.testing.assert_close(found[0], torch.round(means[positions] * 256) / 256, rtol=0, atol=1e-9)
                torch.testing.assert_close(found[1], scales[positions], rtol=1e-9, atol=1e-9)
                exact.place(positions, flat[positions])
            assert torch.equal(exact.latents(), y_hat)


@pytest.mark.parametrize("order", ORDERS)
def test_no_latent_sees_later_ones(order):
    model, (height, width) = model_of(order), (6, 7)
    y_hat = torch.randn(1, 6, height, width, requires_grad=True)
    means, scales = model(y_hat, torch.randn(1, 12, height, width), 1)
    turn = torch.empty(height * width, dtype=torch.long)
    for t, positions in enumerate(passes(order, height, width)):
        turn[positions] = t
    for place in (0, 9, 24, 41):
        gradient = torch.autograd.grad((means + scales).flatten(2)[0, :, place].sum(), y_hat, retain_graph=True)[0]
        seen = gradient[0].abs().sum(0).flatten() > 0
        assert (turn[seen] < turn[place]).all()
        assert seen.any() == (turn[place] > 0)


def test_a_narrow_width_uses_the_first_channels():
    wide, narrow = model_of("serial"), model_of("serial", channels=4)
    with torch.no_grad():
        for theirs, own in zip(narrow.parameters(), wide.parameters(), strict=True):
            theirs.copy_(own[tuple(slice(n) for n in theirs.shape)])
    y_hat, hyper = torch.randn(1, 4, 5, 5), torch.randn(1, 8, 5, 5)
    for a, b in zip(wide(y_hat, hyper, 1), narrow(y_hat, hyper, 1), strict=True):
        torch.testing.assert_close(a, b)


def test_absurd_latents_keep_means_finite():
    model = model_of("serial")
    exact = ExactContext(model, 1, torch.full((1, 12, 4, 4), 1e300, dtype=torch.float64))
    for positions in passes("serial", 4, 4):
        means, _ = exact.at(positions)
        assert means.isfinite().all()
        exact.place(positions, means + 2.0**30)
    assert exact.latents().isfinite().all()
