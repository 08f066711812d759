"""Two-pass context of quantised latents: a checkerboard, of which one colour is known first (He et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.layers.context import KERNEL, mask_of
from nic_lightning.layers.convolution import conv


def first_colour(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Positions that are decoded first, (1, 1, height, width) bool: those of even row plus column."""
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    return ((row[:, None] + column) % 2 == 0)[None, None]


class CheckerboardContext(nn.Module):
    """Scales and means of latents from hyper features and from the latents of the first colour.

        known ─ masked 5/1 ─ phi ─┐
        hyper features ───────────┴─ 1/1 ─ LReLU ─ 1/1 ─ LReLU ─ 1/1 ─ scales, means

    The masked taps are those of the other colour. So latents of the first colour, of which nothing is known, see the
    bias of the convolution alone, and one evaluation of all positions serves both colours. Channels taper as in
    Minnen et al. 2018: 10/3, 8/3 and 2 times the latents'.

    Args:
        latents: channels of y, M.
        features: channels of the hyper features.
    """

    mask: Tensor

    def __init__(self, latents: int, features: int):
        super().__init__()
        self.register_buffer("mask", mask_of("checkerboard"), persistent=False)
        self.context = conv(latents, 2 * latents, KERNEL)
        first, second = max(1, 10 * latents // 3), max(1, 8 * latents // 3)
        self.parameters_of = nn.Sequential(
            conv(features + 2 * latents, first, 1), nn.LeakyReLU(),
            conv(first, second, 1), nn.LeakyReLU(), conv(second, 2 * latents, 1),
        )  # fmt: skip

    def forward(self, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means, both (N, M, h, w); `known` (N, M, h, w) is 0 where nothing is known."""
        kernel = self.context.weight * self.mask.to(self.context.weight)
        phi = F.conv2d(known.to(features.dtype), kernel, self.context.bias, padding=KERNEL // 2)
        scales, means = self.parameters_of(torch.cat([features, phi], 1)).chunk(2, 1)
        return scales, means
