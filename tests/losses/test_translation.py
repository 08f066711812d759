"""Every loss against a calculation by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nic_lightning.losses import translation as losses


def test_adversarial():
    logits = torch.tensor([0.0, 2.0, -1.0])
    for real in (True, False):
        expected = [math.log(1 + math.exp(-v if real else v)) for v in logits.tolist()]
        assert losses.adversarial(logits, real).item() == pytest.approx(sum(expected) / 3, rel=1e-6)
        target = torch.full_like(logits, float(real))
        torch.testing.assert_close(
            losses.adversarial(logits, real), nn.functional.binary_cross_entropy_with_logits(logits, target)
        )
    assert losses.adversarial(torch.tensor([200.0]), False).item() == pytest.approx(200)  # no overflow


def test_r1_of_a_linear_discriminator():
    """D(x) = w . x has the gradient w, for each image; and the penalty's own gradient is w."""
    w = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x = torch.randn(5, 3, 4, 4).requires_grad_()
    penalty = losses.r1((x * w).sum(dim=(1, 2, 3)), x)
    assert penalty.item() == pytest.approx(0.5 * w.square().sum().item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(gradient, w.detach())


def test_absolute_differences():
    a, b = torch.tensor([[1.0, -2.0], [0.5, 0.0]]), torch.tensor([[0.0, -1.0], [0.5, 2.0]])
    assert losses.style_reconstruction(a, b).item() == 1.0
    assert losses.cycle(a[:, None, None], b[:, None, None]).item() == 1.0
    first, second = a.clone().requires_grad_(), b.clone().requires_grad_()
    value = losses.diversity(first, second)
    assert value.item() == 1.0
    value.backward()
    assert first.grad is not None
    assert second.grad is None  # the second image is given


def test_rate_counts_bits_of_a_pixel():
    likelihoods = {"y": torch.tensor([0.5, 0.25]), "z": torch.tensor([0.125])}
    assert losses.rate(likelihoods, torch.zeros(2, 3, 4, 8)).item() == pytest.approx((1 + 2 + 3) / (2 * 4 * 8))


def test_the_weight_of_autoencoding_is_on_the_distortion():
    x, x_hat = torch.full((1, 3, 2, 2), -1.0), torch.full((1, 3, 2, 2), 0.5)
    error = losses.distortion(x, x_hat)
    assert error.item() == 2.25
    loss = losses.autoencoding(error, torch.tensor(0.3), torch.tensor(0.7), lambda_a=20, rate=1, beta=2)
    assert loss.item() == pytest.approx(20 * 2.25 + 0.3 + 1.4)


def test_the_weight_of_diversity_fades():
    assert [losses.fading(2.0, i, 100) for i in (0, 25, 100, 500)] == [2.0, 1.5, 0.0, 0.0]
    assert losses.fading(1.0, 10**6, 0) == 1.0


def test_half_precision_is_left_before_a_loss():
    a = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16)
    for loss in (
        losses.adversarial(a.flatten(), True),
        losses.cycle(a, -a),
        losses.distortion(a, -a),
        losses.rate({"y": torch.rand(3, dtype=torch.bfloat16) + 0.1}, a),
    ):
        assert loss.dtype == torch.float32
