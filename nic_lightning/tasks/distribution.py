"""Training of what adapts a codec's tables to each image: rates alone, on crops that stand for larger images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.side_information import SideInformation, parts_of_larger_images, side_information
from nic_lightning.errors import UserError
from nic_lightning.losses.rate_distortion import bits
from nic_lightning.metrics.fidelity import psnr
from nic_lightning.tasks.optimizers import Make
from nic_lightning.tasks.rate_distortion import RateDistortionTask, require_lambdas

SIDE = ("q", "flag")
"""Likelihoods of what is sent once an image, whatever its size."""
LARGEST = 2**24
"""Pixels of the largest image that is drawn: 4096x4096."""


class EncodingDistributionTask(RateDistortionTask):
    """Minimise R_y + lambda_q R_q, summed over the operating points, in bits per pixel of the crops.

    Tables are sent once an image, and latents are sent everywhere in it. A crop stands for an image of more pixels:
    lambda_q = pixels of the crop / pixels of the image (Ulhaq and Bajic 2024; 1/6 for 256x256 and 512x768). The
    networks are told how many latents that image has, and so learn how fine tables are worth at each size.

    Only the networks h_a, h_s and the entropy model of q are trained; the wrapped codec is frozen, and its distortion
    stays what it is. With `end_to_end` its transforms are trained, too, and lambda times the MSE is added; the talk saw
    rate and distortion get worse by that (docs/distributions.md has our measurement). Medians and static tables stay
    what they are, since nothing makes them anew, while the latents move. Optimiser, schedule and clipping are those of
    `RateDistortionTask`.

    Args:
        codec: `EncodingDistribution`.
        codec_config: the codec's plain config, kept in checkpoints.
        end_to_end: train the wrapped codec's transforms along, for rate and distortion.
        target: (H, W) of the images that crops stand for; None: each step draws a number of pixels, log-uniformly from
            that of the crop to 4096x4096.
        learning_rate: of the networks.
        quantile_learning_rate: of the quantiles of q.
        halve_at: steps at which both are halved.
        warmup: steps in which they rise linearly from a hundredth.
        decay: last steps of `trainer.max_steps` in which they fall linearly towards 0.
        optimizer: makes the optimiser, a partial of conf/optimizer; None: Adam.
        schedule: makes the schedule, a partial of conf/schedule, in place of `halve_at`, `warmup` and `decay`.
    """

    weighs_distortion = False

    def __init__(
        self,
        codec: LearnedCodec,
        codec_config: dict[str, Any] | None = None,
        end_to_end: bool = False,
        target: Sequence[int] | None = None,
        learning_rate: float = 1e-3,
        quantile_learning_rate: float = 1e-3,
        halve_at: Sequence[int] = (),
        warmup: int = 0,
        decay: int = 0,
        optimizer: Make | None = None,
        schedule: Callable[..., LRScheduler] | None = None,
    ):
        if not isinstance(codec, EncodingDistribution):
            raise UserError(
                f"Codec {codec.name} has no tables that are adapted; give codec=encoding_distribution init_from=RUN."
            )
        if target is not None and (len(target) != 2 or min(target) < 1):
            raise UserError(f"task.target is {list(target)}; give height and width of images, as [512, 768], or null.")
        if end_to_end:
            _thaw(codec)
        super().__init__(
            codec, codec_config, learning_rate=learning_rate, quantile_learning_rate=quantile_learning_rate,
            halve_at=halve_at, warmup=warmup, decay=decay, optimizer=optimizer, schedule=schedule, compile=False,
        )  # fmt: skip
        self.end_to_end = end_to_end
        self.target = None if target is None else (int(target[0]), int(target[1]))

    def enlargement(self, crop: int) -> float:
        """Pixels of the image that a crop of so many pixels stands for, over those of the crop: 1 / lambda_q."""
        if self.target is not None:
            return max(1.0, self.target[0] * self.target[1] / crop)
        return math.exp(float(torch.rand(())) * math.log(max(1.0, LARGEST / crop)))

    def training_step(self, x: Tensor, batch_idx: int) -> Tensor:
        """Loss of crops (N, 3, h, w) in [0, 1], summed over the codec's operating points."""
        x = self.without_padding(x).contiguous(memory_format=self.memory_format)
        pixels, larger = x[:, 0].numel(), self.enlargement(x.shape[-2] * x.shape[-1])
        logged: dict[str, Tensor] = {}
        loss = x.new_zeros(())
        for point in self.codec.operating_points:
            with nullcontext() if self.end_to_end else torch.no_grad():
                y = self.codec.analysis(self.codec.pad(x), point)
            with parts_of_larger_images(larger), side_information() as notes:
                y_hat, likelihoods = self.codec.likelihoods(y, point)
            latents, side, static = _bits(likelihoods, notes)
            side = side / larger
            loss = loss + (latents + side) / pixels
            logged |= {
                f"train/bpp@{point.label}": (latents + side) / pixels,
                f"train/bpp_side@{point.label}": side / pixels,
                f"train/static_bpp@{point.label}": static / pixels,
            }
            if self.end_to_end:
                mse = self._mse(x, y_hat, point)
                loss = loss + (point.lmbda or 0.0) * mse
                logged[f"train/mse@{point.label}"] = mse
        return self.whole_loss(loss, logged, len(x))

    def _mse(self, x: Tensor, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Mean squared error of what latents decode to."""
        height, width = x.shape[-2:]
        return F.mse_loss(self.codec.synthesis(y_hat, point)[..., :height, :width].float(), x)

    def validation_step(self, batch: tuple[Sequence[str], Tensor], batch_idx: int) -> None:
        """Rates of whole images at every operating point: as their files will be, and with static tables alone.

        With `end_to_end` also the 8-bit PSNR, and the loss has the distortion in it.
        """
        _, x = batch
        name, pixels = self.validation_name, x[:, 0].numel()
        values, total = {}, x.new_zeros(())
        for point in self.codec.operating_points:
            y = self.codec.analysis(self.codec.pad(x), point)
            with side_information() as notes:
                y_hat, likelihoods = self.codec.likelihoods(y, point)
            latents, side, static = _bits(likelihoods, notes)
            values[f"val/{name}/bpp_estimated@{point.label}"] = (latents + side) / pixels
            values[f"val/{name}/static_bpp@{point.label}"] = static / pixels
            total = total + (latents + side) / pixels
            if self.end_to_end:
                x_hat = self.codec.synthesis(y_hat, point)[..., : x.shape[-2], : x.shape[-1]].float()
                values[f"val/{name}/psnr@{point.label}"] = psnr(x, x_hat).mean()
                total = total + (point.lmbda or 0.0) * F.mse_loss(x_hat.clamp(0, 1), x)
        values[f"val/{name}/loss"] = total
        self.log_dict(values, batch_size=len(x), sync_dist=True)


def _thaw(codec: EncodingDistribution) -> None:
    """Let the wrapped codec's parameters be trained; UserError where a point has no lambda to weigh distortion by."""
    require_lambdas(codec.base)
    codec.base.requires_grad_(True)


def _bits(likelihoods: dict[str, Tensor], notes: Sequence[SideInformation]) -> tuple[Tensor, Tensor, Tensor]:
    """Bits of all latents, of what is sent once an image, and of all latents with static tables."""
    latents = bits({name: value for name, value in likelihoods.items() if name not in SIDE})
    side = bits({name: likelihoods[name] for name in SIDE})
    return latents, side, latents.detach() + sum(note.saved.sum() for note in notes)
