"""Rate-distortion loss: `lambda * D + R`, rate in bits per pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.errors import UserError

Distortion = Callable[[Tensor, Tensor], Tensor]
"""Of a reconstruction and its original, (N, 3, H, W) in [0, 1]: a scalar, 0 where they are equal."""
COMPRESSAI_FACTOR = 255.0**2
"""CompressAI multiplies the MSE of [0, 255] images: its lambda is ours / 255^2."""
MS_SSIM_SIDE = 160
"""Images up to this side are too small for MS-SSIM: an 11-tap window on the coarsest of five scales."""


class Reconstruction(Protocol):
    """What the loss needs of a codec's output: images and the likelihoods of all that is transmitted."""

    x_hat: Tensor
    likelihoods: dict[str, Tensor]


@dataclass
class RateDistortion:
    """Scalars of one batch at one operating point."""

    loss: Tensor
    bpp: Tensor
    """Estimated rate, bits per pixel."""
    distortion: Tensor
    """What was asked for; by default the MSE of [0, 1] images."""


def mse(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(x_hat.float(), x)


def l1(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(x_hat.float(), x)


def ms_ssim_loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM; raises UserError for images that its five scales do not fit into."""
    if min(x.shape[-2:]) <= MS_SSIM_SIDE:
        raise UserError(f"MS-SSIM needs crops of more than {MS_SSIM_SIDE} pixels a side; these have {x.shape[-1]}.")
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

    return 1 - ms_ssim(x_hat.float(), x, data_range=1.0)


def rate_distortion(output: Reconstruction, x: Tensor, lmbda: float, distortion: Distortion = mse) -> RateDistortion:
    """Loss lmbda * distortion + bpp of images x (N, 3, H, W) in [0, 1] (thesis eq. 2.2; lambda 64 to 4096 for MSE)."""
    bpp = bits(output.likelihoods) / (x.shape[0] * x.shape[2] * x.shape[3])
    cost = distortion(output.x_hat, x)
    return RateDistortion(lmbda * cost + bpp, bpp, cost)


def bits(likelihoods: dict[str, Tensor]) -> Tensor:
    """Estimated bits of all latents: -sum(log2 p)."""
    return sum((torch.log(p).sum() for p in likelihoods.values()), start=torch.zeros(())) / -math.log(2)  # pyright: ignore[reportReturnType]
