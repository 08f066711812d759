"""Context pixel by pixel: mbt2018, cheng2020-anchor and cheng2020-attn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.hyperprior_base import ALL, HyperpriorCodec, Pass
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.layers.context import KERNEL, mask_of, passes
from nic_lightning.layers.precision import without_autocast


class Serial(CompressaiCodec, HyperpriorCodec):
    """A position's Gaussians follow from side information and from latents above and to its left.

        y_hat ─ masked 5/1 ─────┐
        z_hat ─ h_s ─ features ─┴─ 1/1 ─ LReLU ─ 1/1 ─ LReLU ─ 1/1 ─ scales, means

    Minnen et al. 2018; Cheng et al. 2020. Positions that do not see one another are coded together, along wavefronts:
    3 (h - 1) + w passes, and what comes out is that of raster order. Estimates make the same passes: CompressAI's own
    forward pass rounds latents without regard to their means, which is another codec than its files are of.
    """

    mean_grid = None

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """g_a, g_s, h_a, h_s and the networks of the context."""
        assert point is not None
        side = model.entropy_bottleneck.channels
        context = RasterContext(model.context_prediction, model.entropy_parameters)
        HyperpriorCodec.__init__(self, model.g_a, model.g_s, model.h_a, model.h_s, side, point, context)

    def passes(self, features: Tensor, known: Tensor, size: tuple[int, int], point: OperatingPoint) -> Iterator[Pass]:
        """One for each wavefront."""
        front = Wavefronts(self.context, features, self.shift(point))
        for positions in passes("serial", *size):
            with without_autocast("cpu"):  # on CPUs it makes bfloat16 of float64, too
                scales, means = front.at(positions)
            yield Pass(ALL, positions, scales, self.on_grid(means))
            front.place(positions, known[:, positions])

    def shift(self, point: OperatingPoint) -> Tensor | None:
        """What is added to the masked convolution at a point, (2M,) in float64 on the CPU; None: nothing."""
        return None

    def noisy_likelihood(self, y: Tensor, features: Tensor, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """Noisy latents, of which the context is made, and their likelihood."""
        y_hat, context = self.entropy_y.noisy(y), self.context
        scales, means = context(features, y_hat)  # pyright: ignore[reportOptionalCall]
        return y_hat, self.entropy_y.likelihood(y_hat, scales, means)


class RasterContext(nn.Module):
    """Scales and means of all latents at once, of hyper features and of the latents: a masked convolution, three 1/1.

    Args:
        prediction: CompressAI's masked convolution. Its forward would write into its weights; they are used masked.
        parameters_of: its network of the Gaussians' parameters.
    """

    def __init__(self, prediction: Any, parameters_of: nn.Sequential):
        super().__init__()
        self.prediction, self.parameters_of = prediction, parameters_of

    def forward(self, features: Tensor, known: Tensor, shift: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both (N, M, h, w), as `known`; features (N, 2M, h, w)."""
        kernel = self.prediction.weight * self.prediction.mask
        seen = F.conv2d(known.to(features.dtype), kernel, self.prediction.bias, padding=KERNEL // 2)
        seen = seen if shift is None else seen + shift[:, None, None]
        scales, means = self.parameters_of(torch.cat([features, seen], 1)).chunk(2, 1)
        return scales, means


class Wavefronts:
    """What a `RasterContext` says of one image, some positions at a time, in float64 on the CPU.

    Args:
        context: a `RasterContext`.
        features: hyper features (1, 2M, h, w), float64, on the CPU.
        shift: added to the masked convolution, (2M,), likewise.
    """

    def __init__(self, context: Any, features: Tensor, shift: Tensor | None = None):
        _, _, self.rows, self.columns = features.shape
        self.features = features[0].flatten(1).t()
        taps = mask_of("serial").flatten().nonzero().flatten()
        kernel = context.prediction.weight.detach().cpu().flatten(2)[..., taps].double()
        self.kernel = kernel.transpose(1, 2).flatten(1)
        bias = context.prediction.bias.detach().cpu().double()
        self.bias = bias if shift is None else bias + shift
        self.layers = [_matrix(layer) for layer in context.parameters_of]
        self.stride = self.columns + KERNEL - 1
        self.reach = taps // KERNEL * self.stride + taps % KERNEL
        self.decoded = torch.zeros((self.rows + KERNEL - 1) * self.stride, kernel.shape[1], dtype=torch.float64)
        """Latents decoded so far, position by position, with a border of zeros."""

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means, both (M, p)."""
        around = self.decoded[self._corner(positions)[:, None] + self.reach].flatten(1)
        x = torch.cat([self.features[positions], F.linear(around, self.kernel, self.bias)], 1)
        for layer in self.layers:
            x = layer(x)
        scales, means = x.t().chunk(2, 0)
        return scales.contiguous(), means.contiguous()

    def place(self, positions: Tensor, latents: Tensor) -> None:
        """Take latents (M, p) as decoded."""
        self.decoded[self._corner(positions) + (self.stride + 1) * (KERNEL // 2)] = latents.t().double()

    def _corner(self, positions: Tensor) -> Tensor:
        """Where the window around each position begins."""
        return positions // self.columns * self.stride + positions % self.columns


def _matrix(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """A layer for positions (p, C): of a 1/1 convolution its matrix, in float64 on the CPU; others as they are."""
    if not isinstance(layer, nn.Conv2d):
        return layer
    assert layer.bias is not None
    weight, bias = (part.detach().double().cpu() for part in (layer.weight[:, :, 0, 0], layer.bias))
    return partial(F.linear, weight=weight, bias=bias)
