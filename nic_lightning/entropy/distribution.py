"""Transforms of encoding distributions (Ulhaq and Bajic 2024): histograms of latents to side information, and back."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.errors import UserError

STRIDE = 8
"""Bins of a distribution to one column of side information."""
PER_OCTAVE, MIDDLE, MAX_LEVEL = 4, 40, 96
"""Levels of size: so many to a doubling of the latents; level 40 is 1,024 latents a channel, as of 512x512 pixels."""


def size_level(latents: float) -> int:
    """floor(4 log2(latents a channel)), 0 to 96, in integers: sender and receiver have to agree on it."""
    return min((max(1, round(latents)) ** PER_OCTAVE).bit_length() - 1, MAX_LEVEL)


class DistributionTransforms(nn.Module):
    """h_a and h_s of all channels' distributions at once: bins are the length, latent channels are the channels.

        p - p_static ─ conv 5/1 ─ conv 15/2 ─ conv 15/2 ─ conv 15/2 ─ conv 15/1 ─ ×2^(a s) ─ q     grouped, channel
        correction ─ deconv 5/1 ─ deconv 15/2 ─ deconv 15/2 ─ deconv 15/2 ─ deconv 15/1 ─ ×2^(-a s) ─ q_hat   shuffle

    Thesis of M. Ulhaq, section 3.3: 28,800 weights each for 192 channels, 97,280 for 320 (hidden 64, side 32), three
    strides of 2 as in its figure. Ours: h_a is given the difference to the static distribution and h_s corrects the
    static logits, so that nothing has to be sent where an image is as expected. Both know the size of the image, s: q
    of a larger image is finer, by a learned power of its latents, since a distribution that is used more often is worth
    more bits; and the first layers have a bias that is linear in s. Both begin at 0, without effect.

    Args:
        channels: of the latents.
        bins: of a distribution, a multiple of 8.
        hidden: channels of the inner layers.
        side: channels of q.
        kernel: taps of the layers but the outermost, odd.
        groups: of the grouped layers, as far as they divide a layer's channels.
    """

    def __init__(
        self, channels: int, bins: int = 256, hidden: int = 32, side: int = 16, kernel: int = 15, groups: int = 8
    ):
        super().__init__()
        if bins < STRIDE or bins % STRIDE or kernel % 2 == 0 or min(hidden, side, kernel, groups) < 1:
            raise UserError(
                f"codec.bins is {bins} and codec.kernel {kernel}; give a multiple of {STRIDE} bins and an odd kernel, "
                "and positive hidden, side and groups."
            )
        self.channels, self.bins, self.side = channels, bins, side
        wide, n, k, g = max(hidden, channels // 2), hidden, kernel, groups
        down = ((channels, wide, 5, 1, g), (wide, n, k, 2, g), (n, n, k, 2, g), (n, n, k, 2, g), (n, side, k, 1, 1))
        self.h_a = nn.ModuleList(_conv(*layer) for layer in down)
        self.h_s = nn.ModuleList(_deconv(b, a, k_, s, g_) for a, b, k_, s, g_ in reversed(down))
        self.gain = nn.Parameter(torch.zeros(side))
        self.analysis_slope = nn.Parameter(torch.zeros(wide))
        self.synthesis_slope = nn.Parameter(torch.zeros(hidden))

    def analysis(self, difference: Tensor, level: int) -> Tensor:
        """Q (N, side, bins / 8), not quantised, of what differs from the static distributions (N, channels, bins)."""
        x, s = difference, (level - MIDDLE) / PER_OCTAVE
        for i, layer in enumerate(self.h_a):
            x = layer(x)
            x = x + (s * self.analysis_slope)[:, None] if i == 0 else x
            x = F.relu(x) if i < 4 else x
            x = shuffle(x, layer.groups) if i < 3 else x  # pyright: ignore[reportArgumentType]
        return x * torch.exp2(s * self.gain)[:, None]

    def synthesis(self, q_hat: Tensor, level: int) -> Tensor:
        """Corrections of the static logits, in bits, (N, channels, bins), of q (N, side, bins / 8), median 0."""
        s = (level - MIDDLE) / PER_OCTAVE
        x = q_hat * torch.exp2(-s * self.gain)[:, None]
        for i, layer in enumerate(self.h_s):
            x = layer(x)
            x = x + (s * self.synthesis_slope)[:, None] if i == 0 else x
            x = F.relu(x) if i < 4 else x
            x = shuffle(x, layer.groups) if 0 < i < 4 else x  # pyright: ignore[reportArgumentType]
        return x


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channels of all groups in turns, (N, C, L): the next grouped layer mixes them (Zhang et al. 2018)."""
    n, c, length = x.shape
    return x.view(n, groups, c // groups, length).transpose(1, 2).reshape(n, c, length)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int, groups: int) -> nn.Conv1d:
    groups = math.gcd(groups, channels_in, channels_out)
    return nn.Conv1d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups)


def _deconv(channels_in: int, channels_out: int, kernel: int, stride: int, groups: int) -> nn.ConvTranspose1d:
    groups = math.gcd(groups, channels_in, channels_out)
    return nn.ConvTranspose1d(channels_in, channels_out, kernel, stride, kernel // 2, stride - 1, groups)
