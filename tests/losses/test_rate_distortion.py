from __future__ import annotations

import math

import pytest
import torch
from compressai.losses import RateDistortionLoss

from nic_lightning.codecs.base import CodecOutput
from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import COMPRESSAI_FACTOR, bits, ms_ssim_loss, rate_distortion


def output(n: int = 2, side: int = 32, seed: int = 0) -> tuple[CodecOutput, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 3, side, side, generator=generator)
    x_hat = (x + 0.1 * torch.randn(n, 3, side, side, generator=generator)).requires_grad_()
    likelihoods = {k: torch.rand(n, 4, 2, 2, generator=generator).clamp_min(1e-9).requires_grad_() for k in "yz"}
    return CodecOutput(x_hat, likelihoods, x, x), x


@pytest.mark.parametrize("lmbda", [64.0, 512.0, 4096.0])
def test_is_compressais_loss_with_lambda_over_255_squared(lmbda):
    ours, x = output()
    found = rate_distortion(ours, x, lmbda)
    expected = RateDistortionLoss(lmbda=lmbda / COMPRESSAI_FACTOR)(
        {"x_hat": ours.x_hat, "likelihoods": ours.likelihoods}, x
    )
    assert COMPRESSAI_FACTOR == 65025
    for mine, theirs in ((found.loss, "loss"), (found.bpp, "bpp_loss"), (found.distortion, "mse_loss")):
        assert mine.item() == pytest.approx(expected[theirs].item(), rel=1e-6)


def test_is_lambda_times_mse_plus_bits_per_pixel():
    ours, x = output(n=3)
    found = rate_distortion(ours, x, 100.0)
    spent = sum(-math.log2(p) for v in ours.likelihoods.values() for p in v.flatten().tolist())
    assert found.bpp.item() == pytest.approx(spent / (3 * 32 * 32), rel=1e-6)  # the batch's size counts
    assert found.distortion.item() == pytest.approx((ours.x_hat - x).square().mean().item(), rel=1e-6)
    assert found.loss.item() == pytest.approx(100 * found.distortion.item() + found.bpp.item(), rel=1e-6)


def test_gradient_of_a_sum_is_the_sum_of_gradients():
    separate = []
    for lmbda in (64.0, 1024.0):
        ours, x = output()
        rate_distortion(ours, x, lmbda).loss.backward()
        separate.append([ours.x_hat.grad, *(v.grad for v in ours.likelihoods.values())])
    ours, x = output()
    sum(rate_distortion(ours, x, v).loss for v in (64.0, 1024.0)).backward()
    together = [ours.x_hat.grad, *(v.grad for v in ours.likelihoods.values())]
    for one, two, both in zip(*separate, together, strict=True):
        torch.testing.assert_close(one + two, both, rtol=1e-5, atol=1e-7)


def test_ms_ssim():
    ours, x = output(side=176)
    found = rate_distortion(ours, x, 10.0, ms_ssim_loss)
    expected = RateDistortionLoss(lmbda=10.0, metric="ms-ssim")(
        {"x_hat": ours.x_hat, "likelihoods": ours.likelihoods}, x
    )
    assert found.distortion.item() == pytest.approx(1 - expected["ms_ssim_loss"].item(), abs=1e-4)
    assert found.loss.item() == pytest.approx(10 * found.distortion.item() + found.bpp.item(), rel=1e-6)
    found.loss.backward()
    assert ours.x_hat.grad is not None
    assert ours.x_hat.grad.isfinite().all()


def test_ms_ssim_of_small_crops_is_refused_with_a_sentence():
    ours, x = output(side=160)
    with pytest.raises(UserError, match="160"):
        rate_distortion(ours, x, 10.0, ms_ssim_loss)


def test_half_precision_images_are_compared_in_float32():
    ours, x = output()
    ours.x_hat = ours.x_hat.detach().bfloat16()
    assert rate_distortion(ours, x, 64.0).loss.dtype == torch.float32


def test_bits_of_certain_and_even_symbols():
    assert bits({"y": torch.ones(5)}).item() == 0
    assert bits({"y": torch.full((3,), 0.5), "z": torch.full((2,), 0.25)}).item() == pytest.approx(7)
    assert bits({}).item() == 0
