from __future__ import annotations

import pytest
import torch

from nic_lightning.layers.soft_histogram import hard_histogram, histogram, soft_histogram

FIRST, BINS = -16, 32


def latents(*shape: int, seed: int = 0, scale: float = 3.0, dtype=torch.float32) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


HALVES = torch.arange(-20, 20).float().div(2)[None, None]
INPUTS = [latents(2, 3, 1536), HALVES, 100 * latents(1, 2, 77), torch.zeros(1, 1, 1)]


@pytest.mark.parametrize("y", INPUTS, ids=["normal", "ties", "far outside", "one latent"])
@pytest.mark.parametrize("kind", [hard_histogram, soft_histogram, histogram])
def test_the_mass_is_one(kind, y):
    total = kind(y, FIRST, BINS).sum(-1)
    # Counts are exact in float32; their quotients and the soft shares are rounded to 6e-8 of the mass each.
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


def test_the_hard_histogram_counts_the_symbols_that_are_coded():
    y = torch.cat([latents(1, 1, 1000)[0, 0], HALVES[0, 0]])
    counted = torch.histc(torch.round(y), BINS, FIRST - 0.5, FIRST + BINS - 0.5)
    assert torch.equal(hard_histogram(y[None, None], FIRST, BINS)[0, 0], counted / y.numel())


def test_the_forward_value_is_hard_to_the_bit():
    y = latents(2, 3, 500).requires_grad_()
    assert torch.equal(histogram(y, FIRST, BINS), hard_histogram(y, FIRST, BINS))


def test_soft_and_hard_agree_on_integers():
    y = torch.round(latents(2, 3, 500))
    assert torch.equal(soft_histogram(y, FIRST, BINS), hard_histogram(y, FIRST, BINS))


def test_the_soft_histogram_is_the_mean_over_uniform_noise():
    torch.manual_seed(0)
    y, draws = latents(1, 2, 256), 2000
    noise = torch.rand(draws, 2, 256) - 0.5
    mean = hard_histogram(y + noise, FIRST, BINS).mean(0, keepdim=True)
    # A bin's count is a sum of 256 coins, variance 64 at most; over 2000 draws its mean, in parts of 256, has a
    # standard deviation of 7e-4 at most. 64 bins are compared.
    torch.testing.assert_close(mean, soft_histogram(y, FIRST, BINS), rtol=0, atol=2.5e-3)


def test_the_gradient_is_the_difference_of_two_code_lengths():
    """Of rate = -M sum p log2 q with respect to a latent: -(log2 q[ceil] - log2 q[floor])."""
    y = latents(1, 2, 40, dtype=torch.float64).requires_grad_()
    log2_q = torch.log2(torch.softmax(latents(1, 2, BINS, seed=1, dtype=torch.float64), -1))
    (-(histogram(y, FIRST, BINS) * log2_q).sum() * y.shape[-1]).backward()
    above, below = ((edge(y.detach()) - FIRST).long() for edge in (torch.ceil, torch.floor))
    expected = -(log2_q.gather(-1, above) - log2_q.gather(-1, below))
    # float64: quotient and product by M cancel but for some 1e-15 of numbers of the order of 10
    torch.testing.assert_close(y.grad, expected, rtol=0, atol=1e-12)


def test_the_gradient_is_that_of_the_soft_histogram():
    weights = latents(1, 2, BINS, seed=2, dtype=torch.float64)
    grads = []
    for kind in (histogram, soft_histogram):
        y = latents(1, 2, 100, dtype=torch.float64).requires_grad_()
        (kind(y, FIRST, BINS) * weights).sum().backward()
        grads.append(y.grad)
    torch.testing.assert_close(*grads, rtol=0, atol=1e-12)


def test_outside_the_bins_the_gradient_only_moves_latents_back():
    slope = torch.arange(BINS, dtype=torch.float64)
    for sign, kept in ((1.0, [False, True]), (-1.0, [True, False])):
        y = torch.tensor([[[-40.0, 40.0]]], dtype=torch.float64, requires_grad=True)
        (sign * slope * histogram(y, FIRST, BINS)).sum().backward()
        assert y.grad is not None
        assert (y.grad[0, 0] != 0).tolist() == kept
