"""PSNR and MS-SSIM the way published curves are computed: image by image, then the mean over images.

Images are float RGB in [0, 1], shape (N, 3, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment", sec. 3.2.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
_BAND = 2**20
"""Pixels that are compared at a time."""
MIN_SIDE = (WINDOW - 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1
"""Shorter sides (160 and below) leave no room for the window at the coarsest of the five scales."""


def levels(x: Tensor) -> Tensor:
    """Values of an image's 8-bit file, whole numbers from 0 to 255 as floats; `x` in [0, 1], or uint8."""
    return x.float() if x.dtype == torch.uint8 else x.clamp(0, 1).mul(255).round()


def round_to_8_bits(x: Tensor) -> Tensor:
    """The image as a file of 8 bits a channel gives it back: clipped to [0, 1], multiples of 1/255."""
    return levels(x).div(255)


def psnr(x: Tensor, x_hat: Tensor) -> Tensor:
    """PSNR in dB of 8-bit-rounded images, shape (N,); infinite where the images are equal."""
    return precise_psnr(x, x_hat).to(x.dtype)


def precise_psnr(x: Tensor, x_hat: Tensor) -> Tensor:
    """`psnr` in float64, for searches; also of images in uint8, and a band of rows at a time."""
    rows = max(1, _BAND // max(1, x.shape[-1] * len(x)))
    error = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for bands in zip(x.split(rows, dim=-2), x_hat.split(rows, dim=-2), strict=True):
        a, b = (levels(t) for t in bands)
        error += (a - b).square().flatten(1).sum(1, dtype=torch.float64)  # of whole numbers: exact in any order
    mse = error / x[0].numel()
    return 20 * torch.log10(torch.tensor(255.0, dtype=torch.float64)) - 10 * torch.log10(mse)


def ms_ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    """MS-SSIM (Wang et al. 2003), shape (N,), mean over channels; NaN where a side is 160 or less."""
    return MsSsimOf(x)(x_hat)


class MsSsimOf:
    """MS-SSIM of images with one original (N, 3, H, W), whose scales and moments are made once."""

    def __init__(self, x: Tensor) -> None:
        self._scales: list[_Moments] | None = None
        if min(x.shape[-2:]) < MIN_SIDE:
            return
        self._window = _gaussian(x)
        self._scales = [_moments(scale, self._window) for scale in _pyramid(x)]

    def __call__(self, x_hat: Tensor) -> Tensor:
        """Shape (N,)."""
        if self._scales is None:
            return x_hat.new_full((x_hat.shape[0],), float("nan"))
        last = len(MS_SSIM_WEIGHTS) - 1
        scales = [
            _ssim(x, y, self._window, luminance=number == last)
            for number, (x, y) in enumerate(zip(self._scales, _pyramid(x_hat), strict=True))
        ]
        # Structure that is anti-correlated counts as none: a negative base has no real power.
        values = torch.stack(scales).clamp(min=0)
        weights = values.new_tensor(MS_SSIM_WEIGHTS).view(-1, 1, 1)
        return values.pow(weights).prod(0).mean(1)


class _Moments(NamedTuple):
    """Of one scale: the images' planes (1, 3N, H, W), their blurred means, the squares of these, and variances."""

    planes: Tensor
    mean: Tensor
    square: Tensor
    variance: Tensor


def _pyramid(x: Tensor) -> Iterator[Tensor]:
    """Images (N, 3, H, W) at each of the scales, halved from one to the next."""
    for scale in range(len(MS_SSIM_WEIGHTS)):
        x = F.avg_pool2d(x, 2, padding=[side % 2 for side in x.shape[-2:]]) if scale else x
        yield x


def to_db(value: Tensor) -> Tensor:
    """MS-SSIM on the logarithmic scale of published curves: -10 log10(1 - value)."""
    return -10 * torch.log10(1 - value)


def _gaussian(like: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, device=like.device, dtype=like.dtype) - WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return window / window.sum()


def _blur(x: Tensor, window: Tensor) -> Tensor:
    """Gaussian window without padding, one axis after the other; x is (1, M, H, W)."""
    # One group for each plane, and these innermost: on a CPU a third of the time of planes one after the other, which
    # takes a fraction of that of a batch of M one-channel pictures.
    m, x = x.shape[1], x.contiguous(memory_format=torch.channels_last)
    rows = F.conv2d(x, window.view(1, 1, -1, 1).expand(m, 1, -1, 1), groups=m)
    return F.conv2d(rows, window.view(1, 1, 1, -1).expand(m, 1, 1, -1), groups=m).contiguous()


def _planes(x: Tensor) -> Tensor:
    return x.reshape(1, -1, *x.shape[-2:])


def _moments(x: Tensor, window: Tensor) -> _Moments:
    planes = _planes(x)
    mean, squares = _blur(torch.cat([planes, planes * planes], dim=1), window).chunk(2, dim=1)
    square = mean * mean
    return _Moments(planes, mean, square, squares - square)


def _ssim(x: _Moments, y: Tensor, window: Tensor, luminance: bool) -> Tensor:
    """Mean contrast-structure term of values in [0, 1], (N, 3); SSIM, where the `luminance` term is wanted, too."""
    c1, c2 = 0.01**2, 0.03**2
    shape, y = y.shape[:2], _planes(y)
    mean, yy, xy = _blur(torch.cat([y, y * y, x.planes * y], dim=1), window).chunk(3, dim=1)
    product, square = x.mean * mean, mean * mean
    terms = (2 * (xy - product) + c2) / (x.variance + (yy - square) + c2)
    if luminance:
        terms = (2 * product + c1) / (x.square + square + c1) * terms
    return terms.mean((0, 2, 3)).view(shape)
