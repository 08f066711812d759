"""PSNR and MS-SSIM the way published curves are computed: image by image, then the mean over images.

Images are float RGB in [0, 1], shape (N, 3, H, W).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment", sec. 3.2.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
MIN_SIDE = (WINDOW - 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1
"""Shorter sides (160 and below) leave no room for the window at the coarsest of the five scales."""


def round_to_8_bits(x: Tensor) -> Tensor:
    """The image as a file of 8 bits a channel gives it back: clipped to [0, 1], multiples of 1/255."""
    return x.clamp(0, 1).mul(255).round().div(255)


def psnr(x: Tensor, x_hat: Tensor) -> Tensor:
    """PSNR in dB of 8-bit-rounded images, shape (N,); infinite where the images are equal."""
    return precise_psnr(x, x_hat).to(x.dtype)


def precise_psnr(x: Tensor, x_hat: Tensor) -> Tensor:
    """`psnr` in float64, for searches."""
    a, b = (t.clamp(0, 1).mul(255).round() for t in (x, x_hat))
    mse = (a - b).square().flatten(1).mean(1, dtype=torch.float64)
    return 20 * torch.log10(torch.tensor(255.0, dtype=torch.float64)) - 10 * torch.log10(mse)


def ms_ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    """MS-SSIM (Wang et al. 2003), shape (N,), mean over channels; NaN where a side is 160 or less."""
    if min(x.shape[-2:]) < MIN_SIDE:
        return x.new_full((x.shape[0],), float("nan"))
    window = _gaussian(x)
    scales = []
    for scale in range(len(MS_SSIM_WEIGHTS)):
        if scale > 0:
            padding = [side % 2 for side in x.shape[-2:]]
            x, x_hat = (F.avg_pool2d(t, 2, padding=padding) for t in (x, x_hat))
        similarity, contrast = _ssim(x, x_hat, window)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        scales.append(similarity if last else contrast)
    # Structure that is anti-correlated counts as none: a negative base has no real power.
    values = torch.stack(scales).clamp(min=0)
    weights = values.new_tensor(MS_SSIM_WEIGHTS).view(-1, 1, 1)
    return values.pow(weights).prod(0).mean(1)


def to_db(value: Tensor) -> Tensor:
    """MS-SSIM on the logarithmic scale of published curves: -10 log10(1 - value)."""
    return -10 * torch.log10(1 - value)


def _gaussian(like: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, device=like.device, dtype=like.dtype) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return window / window.sum()


def _blur(x: Tensor, window: Tensor) -> Tensor:
    """Gaussian window without padding, one axis after the other; x is (1, M, H, W)."""
    # One group for each plane: on a CPU several times as fast as a batch of M one-channel pictures.
    m = x.shape[1]
    rows = F.conv2d(x, window.view(1, 1, -1, 1).expand(m, 1, -1, 1), groups=m)
    return F.conv2d(rows, window.view(1, 1, 1, -1).expand(m, 1, 1, -1), groups=m)


def _ssim(x: Tensor, y: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure term, each (N, 3), for values in [0, 1]."""
    c1, c2 = 0.01**2, 0.03**2
    shape = x.shape[:2]
    x, y = (t.reshape(1, -1, *t.shape[-2:]) for t in (x, y))
    blurred = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1), window)
    mean_x, mean_y, xx, yy, xy = blurred.chunk(5, dim=1)
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * contrast).mean((0, 2, 3)).view(shape), contrast.mean((0, 2, 3)).view(shape)
