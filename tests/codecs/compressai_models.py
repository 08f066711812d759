"""Small models of CompressAI with latents of a few symbols, and codecs that wrap them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.codecs.wrapped.archs import ARCHS, Size
from nic_lightning.codecs.wrapped.codec import CompressaiCodec
from nic_lightning.codecs.wrapped.networks import model_of
from nic_lightning.testing import smooth_images

GROUPS = (2, 2, 2, 2, 8)
"""Of latents of elic2022."""


def size(arch: str) -> Size:
    return Size(16, 16, GROUPS if ARCHS[arch].grouped else None)


def model(arch: str, side_steps: bool = False, tables: bool = True) -> Any:
    """CompressAI's, its latents of a deviation of 3 coded with scales about 3, without the escapes of bad guesses."""
    torch.manual_seed(0)
    made: Any = model_of(arch, size(arch), side_steps).eval()
    with torch.no_grad():
        convolutions = [layer for layer in made.g_a.children() if isinstance(layer, nn.Conv2d)]
        convolutions[-1].weight.mul_(4)
        wide = 12 if ARCHS[arch].qualities == 0 else 3  # gains are up to ten times smaller
        convolutions[-1].weight.mul_(wide / made.g_a(smooth_images(64, 128)).std())
        for name, layer in made.named_modules():
            layers = [part for part in layer.modules() if isinstance(part, nn.Conv2d)]
            last = name.endswith("entropy_parameters") or (name == "h_s" and not hasattr(made, "entropy_parameters"))
            if last and layers:
                bias = layers[-1].bias
                half = len(bias) if arch.startswith("bmshj2018") else len(bias) // 2
                (bias[half:] if arch.endswith("chandelier") else bias[:half]).fill_(wide)
        if hasattr(made, "QuantABCD"):
            for parameter in made.QuantABCD.parameters():
                parameter.mul_(1.5)
        if side_steps:
            made.gayn2zqstep[4].weight.mul_(3)
            made.gayn2zqstep[4].bias.fill_(0.7)
    if tables:
        made.update(force=True, update_quantiles=True) if ARCHS[arch].qualities else made.update(force=True)
    return made


def codec(arch: str, side_steps: bool = False) -> CompressaiCodec:
    """A codec of the same size, untrained."""
    one = size(arch)
    return CompressaiCodec(
        arch=arch, width=one.width, latents=one.latents, groups=one.groups, side_steps=side_steps
    ).eval()


def images() -> list[Tensor]:
    """Three, with sides that are multiples of 64: CompressAI takes no others."""
    return list(smooth_images(64, 128, 3, seed=5).split(1))
