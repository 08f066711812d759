from __future__ import annotations

import math

import pytest
import pytorch_msssim
import torch

from nic_lightning.metrics.fidelity import MsSsim, MsSsimDb, Psnr, ms_ssim, psnr, round_to_8_bits, to_db


def images(n: int, height: int = 176, width: int = 200) -> torch.Tensor:
    """Smooth random pictures: noise alone has no structure at the coarse scales."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(n, 3, 12, 12, generator=generator)
    x = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    return round_to_8_bits(x)


def noisy(x: torch.Tensor, levels: list[float]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    noise = torch.randn(x.shape, generator=generator)
    return x + noise * torch.tensor(levels).view(-1, 1, 1, 1)


def test_psnr_by_hand():
    x = torch.zeros(2, 3, 4, 4)
    x_hat = torch.stack([torch.full((3, 4, 4), 1.0), torch.full((3, 4, 4), 10 / 255)])
    assert psnr(x, x_hat).tolist() == pytest.approx([0.0, 20 * math.log10(25.5)], abs=1e-5)


def test_psnr_rounds_and_clips_to_8_bits():
    x = torch.full((1, 3, 4, 4), 100 / 255)
    assert psnr(x, x + 0.4 / 255).item() == math.inf
    assert psnr(x, x + 0.6 / 255).item() == pytest.approx(20 * math.log10(255), abs=1e-4)
    assert psnr(torch.ones(1, 3, 4, 4), torch.full((1, 3, 4, 4), 7.0)).item() == math.inf


def test_psnr_metric_is_the_mean_over_images_not_over_pixels():
    x = images(4)
    x_hat = noisy(x, [0.002, 0.01, 0.05, 0.2])
    metric = Psnr()
    metric.update(x[:1], x_hat[:1])
    metric.update(x[1:], x_hat[1:])
    per_image = psnr(x, x_hat)
    assert metric.compute().item() == pytest.approx(per_image.mean().item(), abs=1e-4)
    mse = (round_to_8_bits(x_hat) - x).square().mean()
    of_the_data_set = -10 * math.log10(mse.item())
    assert metric.compute().item() - of_the_data_set > 3


def test_ms_ssim_agrees_with_pytorch_msssim():
    for height, width in [(176, 200), (161, 161), (233, 187)]:
        x = images(3, height, width)
        x_hat = noisy(x, [0.01, 0.05, 0.3]).clamp(0, 1)
        expected = pytorch_msssim.ms_ssim(x, x_hat, data_range=1.0, size_average=False)
        assert torch.allclose(ms_ssim(x, x_hat), expected, atol=1e-4)


def test_ms_ssim_of_anticorrelated_images_is_a_number():
    x = images(1)
    assert 0 <= ms_ssim(x, 1 - x).item() < 0.1


@pytest.mark.parametrize("size", [(160, 300), (300, 160), (1, 1)])
def test_ms_ssim_of_a_small_image_is_nan(size):
    x = torch.rand(2, 3, *size)
    assert ms_ssim(x, x).isnan().all()


def test_ms_ssim_db_is_the_mean_of_each_images_db():
    x = images(3)
    x_hat = noisy(x, [0.005, 0.05, 0.4])
    metric, plain = MsSsimDb(), MsSsim()
    for i in range(3):
        metric.update(x[i : i + 1], x_hat[i : i + 1])
        plain.update(x[i : i + 1], x_hat[i : i + 1])
    values = ms_ssim(x, round_to_8_bits(x_hat))
    assert metric.compute().item() == pytest.approx(to_db(values).mean().item(), abs=1e-4)
    assert plain.compute().item() == pytest.approx(values.mean().item(), abs=1e-5)
    assert metric.compute().item() - to_db(plain.compute()).item() > 1


def test_images_too_small_are_left_out_of_the_mean():
    metric = MsSsim()
    metric.update(torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 20))
    assert metric.compute().isnan()
    x = images(1)
    metric.update(x, x)
    assert metric.compute().item() == pytest.approx(1.0)
    metric.reset()
    assert metric.count == 0
