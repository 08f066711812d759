"""Contexts in passes: cheng2020-anchor-checkerboard, elic2022-official and elic2022-chandelier."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.hyperprior_base import HyperpriorCodec, Pass
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.layers.checkerboard import first_colour
from nic_lightning.layers.precision import in_float64


class Tree(CompressaiCodec, HyperpriorCodec):
    """Groups of channels one after the other, each in the two colours of a checkerboard.

        z_hat ─ h_s ─ features ────────────────────┐
        y_hat of groups before ─ conv ×3 ──────────┼─ 1/1 ×3 ─ scales, means of the group
        y_hat of the first colour ─ masked 5/1 ────┘           (first colour: 0 in place of the masked convolution)

    He et al. 2021, one group; He et al. 2022 (ELIC), five. The "chandelier" variant looks at the first group and at the
    one before only. Means and scales are found in float64, and latents are float32, so that last digits, in which
    machines differ, do not go on from pass to pass.
    """

    mean_grid = None

    def take(self, model: Any, point: OperatingPoint | None) -> None:
        """g_a, g_s, h_a, h_s and the networks of the contexts."""
        assert point is not None
        hyper, y = model.latent_codec.hyper, model.latent_codec.y
        side = hyper.entropy_bottleneck.channels
        context = GroupsContext(y, type(model).__name__ == "Elic2022Chandelier")
        HyperpriorCodec.__init__(self, model.g_a, model.g_s, hyper.h_a, hyper.h_s, side, point, context)

    def passes(self, features: Tensor, known: Tensor, size: tuple[int, int], point: OperatingPoint) -> Iterator[Pass]:
        """Two for each group."""
        context: Any = self.context
        first = first_colour(*size).flatten()
        colours = first.nonzero()[:, 0], (~first).nonzero()[:, 0]
        for k, channels in enumerate(context.slices):
            group, own = context.groups[k], known[channels].view(1, -1, *size)
            side = features
            if k:
                seen = known[context.seen(k)].view(1, -1, *size)
                side = torch.cat([in_float64(context.channels[str(k)], seen), features], 1)
            for positions in colours:
                scales, means = in_float64(group, side, own.double(), positions)
                yield Pass(channels, positions, scales, self.on_grid(means))

    def noisy_likelihood(self, y: Tensor, features: Tensor, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """Noisy latents, of which all contexts are made, and their likelihood."""
        y_hat, context = self.entropy_y.noisy(y), self.context
        scales, means = context(features, y_hat)  # pyright: ignore[reportOptionalCall]
        return y_hat, self.entropy_y.likelihood(y_hat, scales, means)


class GroupsContext(nn.Module):
    """Scales and means of latents in groups of channels.

    Args:
        y: CompressAI's latent codec of y, whose networks are taken.
        near: a group sees the first group and the one before, and not all before.
    """

    def __init__(self, y: Any, near: bool):
        super().__init__()
        sizes = getattr(y, "groups", None)
        parts = [y] if sizes is None else [y.latent_codec[f"y{k}"] for k in range(len(sizes))]
        self.groups = nn.ModuleList(GroupContext(part) for part in parts)
        nets = {} if sizes is None else {str(k): y.channel_context[f"y{k}"] for k in range(1, len(sizes))}
        self.channels = nn.ModuleDict(nets)
        self.near = near
        ends = [0]
        for group in self.groups:
            ends.append(ends[-1] + group.prediction.in_channels)  # pyright: ignore
        self.slices = [slice(a, b) for a, b in pairwise(ends)]

    def seen(self, k: int) -> Tensor:
        """Channels of the groups that group k, after the first, sees."""
        groups = sorted({0, k - 1}) if self.near else range(k)
        return torch.cat([torch.arange(self.slices[g].start, self.slices[g].stop) for g in groups])

    def forward(self, features: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means (N, M, h, w) of all latents, for training."""
        found = []
        for k, channels in enumerate(self.slices):
            side = features
            if k:
                side = torch.cat([self.channels[str(k)](noisy[:, self.seen(k)]), features], 1)
            found.append(self.groups[k](side, noisy[:, channels]))
        scales, means = zip(*found, strict=True)
        return torch.cat(scales, 1), torch.cat(means, 1)


class GroupContext(nn.Module):
    """Scales and means of one group, of side parameters and of its latents of the first colour.

    Args:
        codec: CompressAI's `CheckerboardLatentCodec`, whose networks are taken.
    """

    def __init__(self, codec: Any):
        super().__init__()
        self.prediction, self.parameters_of = codec.context_prediction, codec.entropy_parameters
        self.means_first = tuple(codec.y.chunks) == ("means", "scales")

    def forward(self, side: Tensor, known: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scales and means (N, g, h, w) of latents; or at `positions` of one image, both (g, p).

        `known` (N, g, h, w) are the latents, of which those of the first colour are looked at.
        """
        first = first_colour(*known.shape[-2:], device=known.device)
        # Their module's forward would write into the weights, which is why it is not called.
        kernel = self.prediction.weight * self.prediction.mask
        seen = F.conv2d((known * first).to(side.dtype), kernel, self.prediction.bias, padding=2) * ~first
        x = torch.cat([seen, side], 1)
        if positions is not None:  # the rest is pointwise
            x = x.flatten(2)[:, :, None, positions]
        scales, means = self.parameters_of(x).chunk(2, 1)
        if self.means_first:
            scales, means = means, scales
        return (scales, means) if positions is None else (scales[0, :, 0], means[0, :, 0])
