"""Entropy models and latents that the tests of this folder share."""

from __future__ import annotations

import math

import torch

from nic_lightning.entropy.factorised import EntropyBottleneck

CHANNELS = 5


def bottleneck(seed: int = 0, spread: float = 1.0, **arguments) -> EntropyBottleneck:
    """A bottleneck with random weights and fresh tables; a small `spread` makes its density narrow."""
    torch.manual_seed(seed)
    model = EntropyBottleneck(CHANNELS, **arguments)
    with torch.no_grad():
        for parameter in model.factors:
            parameter.normal_(0, 0.5)
        for parameter in model.matrices:
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.matrices[0].sub_(math.log(spread))
    model.update()
    return model.eval()


def latents(*shape: int, seed: int = 0, scale: float = 6.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
