"""Networks of StarGAN v2 (Choi et al. 2020, appendix E), with units that switch them to another task.

Layers, initial values and names of attributes are those of its released networks, so that state dicts of these load;
the high-pass skips (w_hpf > 0) are left out: they would carry features of the encoder past the bitstream. Images are
(N, 3, H, W) in [-1, 1]; what the decoder gives is not bounded. A domain is given by its index, one for each image.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Of all leaky rectifiers."""


class ModeUnit(nn.Module):
    """Adaptation unit of the content encoder: o' = u(m) o + r(m), u = 1 + a m, r = b m (thesis section 4.4.1).

    The mode m is 0 for translation, which a unit leaves exactly as it is, and 1 for autoencoding; a and b, a number a
    channel each, begin at 0.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, mode: float) -> Tensor:
        """(N, C, H, W) of the same shape."""
        if mode == 0:
            return x
        return x * (1 + mode * self.scale)[:, None, None] + (mode * self.shift)[:, None, None]


class ResBlock(nn.Module):
    """Residual block, activation first; the content encoder normalises, style encoder and discriminator do not.

    x ─ [IN ─ unit(m)] ─ LReLU ─ conv 3 ─ [pool /2] ─ [IN ─ unit(m)] ─ LReLU ─ conv 3 ─ + ─ / sqrt 2
    └── [conv 1] ─ [pool /2] ───────────────────────────────────────────────────────────┘
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool, normalise: bool = False, modes: bool = False):
        super().__init__()
        self.halve = halve
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm1 = nn.InstanceNorm2d(inputs, affine=True) if normalise else None
        self.norm2 = nn.InstanceNorm2d(inputs, affine=True) if normalise else None
        self.unit1 = ModeUnit(inputs) if modes else None
        self.unit2 = ModeUnit(inputs) if modes else None
        self.conv1x1 = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor, mode: float = 0.0) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W), or half of H and W."""
        residual = self.conv1(_activated(x, self.norm1, self.unit1, mode))
        if self.halve:
            residual = F.avg_pool2d(residual, 2)
        residual = self.conv2(_activated(residual, self.norm2, self.unit2, mode))
        shortcut = x if self.conv1x1 is None else self.conv1x1(x)
        if self.halve:
            shortcut = F.avg_pool2d(shortcut, 2)
        return (shortcut + residual) / math.sqrt(2)


def _activated(x: Tensor, norm: nn.Module | None, unit: ModeUnit | None, mode: float) -> Tensor:
    x = x if norm is None else norm(x)
    x = x if unit is None else unit(x, mode)
    return F.leaky_relu(x, SLOPE)


class AdaIN(nn.Module):
    """Adaptive instance normalisation: (1 + gamma) IN(x) + beta, (gamma, beta) linear in the style, and in the mode.

    That is the decoder's adaptation unit o' = u(s; m) o + r(s; m) (thesis section 4.4.1); the mode's begins at 0.
    """

    def __init__(self, style_dim: int, channels: int, modes: bool = False):
        super().__init__()
        self.fc = nn.Linear(style_dim, 2 * channels)
        self.mode = nn.Parameter(torch.zeros(2 * channels)) if modes else None

    def forward(self, x: Tensor, style: Tensor, mode: float = 0.0) -> Tensor:
        """(N, C, H, W) of the same shape; style (N, style_dim)."""
        factors = self.fc(style)
        if mode != 0 and self.mode is not None:
            factors = factors + mode * self.mode
        gamma, beta = factors[:, :, None, None].chunk(2, dim=1)
        return (1 + gamma) * F.instance_norm(x) + beta


class AdainResBlock(nn.Module):
    """Residual block of the decoder.

    x ─ AdaIN(s, m) ─ LReLU ─ [nearest x2] ─ conv 3 ─ AdaIN(s, m) ─ LReLU ─ conv 3 ─ + ─ / sqrt 2
    └── [nearest x2] ─ [conv 1] ─────────────────────────────────────────────────────┘
    """

    def __init__(self, inputs: int, outputs: int, style_dim: int, *, enlarge: bool, modes: bool = False):
        super().__init__()
        self.enlarge = enlarge
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm1 = AdaIN(style_dim, inputs, modes)
        self.norm2 = AdaIN(style_dim, outputs, modes)
        self.conv1x1 = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor, style: Tensor, mode: float = 0.0) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W), or twice H and W; style (N, style_dim)."""
        residual = F.leaky_relu(self.norm1(x, style, mode), SLOPE)
        if self.enlarge:
            residual, x = (F.interpolate(t, scale_factor=2, mode="nearest") for t in (residual, x))
        residual = F.leaky_relu(self.norm2(self.conv1(residual), style, mode), SLOPE)
        shortcut = x if self.conv1x1 is None else self.conv1x1(x)
        return (self.conv2(residual) + shortcut) / math.sqrt(2)


class ContentEncoder(nn.Module):
    """E^c: images to content, (N, 3, H, W) to (N, latents, H / 2^halvings, W / 2^halvings)."""

    def __init__(self, base: int = 64, widest: int = 512, halvings: int = 4, latents: int = 512, modes: bool = False):
        super().__init__()
        widths = _widths(base, widest, halvings)
        self.from_rgb = nn.Conv2d(3, base, 3, padding=1)
        blocks = [ResBlock(a, b, halve=True, normalise=True, modes=modes) for a, b in pairwise(widths)]
        for outputs in (widths[-1], latents):
            blocks.append(ResBlock(widths[-1], outputs, halve=False, normalise=True, modes=modes))
        self.encode = nn.ModuleList(blocks)

    def forward(self, x: Tensor, mode: float = 0.0) -> Tensor:
        """Content of images."""
        x = self.from_rgb(x)
        for block in self.encode:
            x = block(x, mode)
        return x


class StyledDecoder(nn.Module):
    """G: content (N, latents, h, w) and styles (N, style_dim) to images (N, 3, 2^halvings h, 2^halvings w)."""

    def __init__(
        self,
        base: int = 64,
        widest: int = 512,
        halvings: int = 4,
        latents: int = 512,
        style_dim: int = 64,
        modes: bool = False,
    ):
        super().__init__()
        widths = _widths(base, widest, halvings)[::-1]
        blocks = [AdainResBlock(c, widths[0], style_dim, enlarge=False, modes=modes) for c in (latents, widths[0])]
        blocks += [AdainResBlock(a, b, style_dim, enlarge=True, modes=modes) for a, b in pairwise(widths)]
        self.decode = nn.ModuleList(blocks)
        self.to_rgb = nn.Sequential(nn.InstanceNorm2d(base, affine=True), nn.LeakyReLU(SLOPE), nn.Conv2d(base, 3, 1))

    def forward(self, y_hat: Tensor, style: Tensor, mode: float = 0.0) -> Tensor:
        """Images of content in a style."""
        for block in self.decode:
            y_hat = block(y_hat, style, mode)
        return self.to_rgb(y_hat)


class MappingNetwork(nn.Module):
    """M: random vectors (N, latent_dim) to styles (N, style_dim) of a domain."""

    def __init__(self, domains: int = 2, latent_dim: int = 16, style_dim: int = 64, hidden: int = 512):
        super().__init__()
        self.latent_dim = latent_dim
        sizes = [latent_dim, *4 * [hidden]]
        self.shared = nn.Sequential(*(part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())))
        self.unshared = nn.ModuleList(
            nn.Sequential(*(part for _ in range(3) for part in (nn.Linear(hidden, hidden), nn.ReLU())),
                          nn.Linear(hidden, style_dim))
            for _ in range(domains)
        )  # fmt: skip

    def forward(self, w: Tensor, domain: Tensor) -> Tensor:
        """Styles; domain (N,) indices."""
        h = self.shared(w)
        return _of_domain(torch.stack([branch(h) for branch in self.unshared], dim=1), domain)


class StyleEncoder(nn.Module):
    """E^s: reference images (N, 3, size, size) to styles (N, style_dim) of a domain."""

    def __init__(self, size: int = 256, base: int = 64, widest: int = 512, style_dim: int = 64, domains: int = 2):
        super().__init__()
        trunk, width = _trunk(size, base, widest)
        self.shared = nn.Sequential(*trunk)
        self.unshared = nn.ModuleList(nn.Linear(width, style_dim) for _ in range(domains))

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        """Styles; domain (N,) indices."""
        h = self.shared(x).flatten(1)
        return _of_domain(torch.stack([branch(h) for branch in self.unshared], dim=1), domain)


class Discriminator(nn.Module):
    """D: a logit for each image (N, 3, size, size), whether it is a real one of its domain (multi-task)."""

    def __init__(self, size: int = 256, base: int = 64, widest: int = 512, domains: int = 2):
        super().__init__()
        trunk, width = _trunk(size, base, widest)
        self.main = nn.Sequential(*trunk, nn.Conv2d(width, domains, 1))

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        """Logits (N,); domain (N,) indices."""
        return _of_domain(self.main(x).flatten(1), domain)


def initialise(network: nn.Module) -> None:
    """Weights of convolutions and linear layers as He et al. (2015) for rectifiers, by their inputs; biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _trunk(size: int, base: int, widest: int) -> tuple[list[nn.Module], int]:
    """Layers from an image to one vector of as many channels as the number says."""
    widths = _widths(base, widest, int(math.log2(size)) - 2)
    blocks = [ResBlock(a, b, halve=True) for a, b in pairwise(widths)]
    last = [nn.LeakyReLU(SLOPE), nn.Conv2d(widths[-1], widths[-1], 4), nn.LeakyReLU(SLOPE)]
    return [nn.Conv2d(3, base, 3, padding=1), *blocks, *last], widths[-1]


def _widths(base: int, widest: int, halvings: int) -> list[int]:
    """Channels at every resolution, from the full one down: doubled each time, to `widest` at most."""
    return [min(base * 2**i, max(base, widest)) for i in range(halvings + 1)]


def _of_domain(values: Tensor, domain: Tensor) -> Tensor:
    """Of (N, domains, ...) each image's own entry."""
    return values[torch.arange(len(domain), device=domain.device), domain]
