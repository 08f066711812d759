"""Layers in the fewest and most common operators: what other runtimes read and optimise best."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import type_before_parametrizations

from nic_lightning.layers.convolution import SubpixelDeconv
from nic_lightning.layers.gdn import GDN, nonnegative

Network = TypeVar("Network", bound=nn.Module)


class PlainGDN(nn.Module):
    """A trained `GDN` as a 1x1 convolution of squares, its parameters worked out once."""

    gamma: Tensor
    beta: Tensor

    def __init__(self, trained: GDN):
        super().__init__()
        self.inverse = trained.inverse
        self.register_buffer("gamma", nonnegative(trained.gamma)[:, :, None, None].detach())
        self.register_buffer("beta", nonnegative(trained.beta, trained.beta_min).detach())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        root = F.conv2d(x * x, self.gamma, self.beta).sqrt()
        return x * root if self.inverse else x / root


@torch.no_grad()
def plain_copy(network: Network) -> Network:
    """Copy for inference that computes the same function with torch's own convolutions, their kernels as taps."""
    plain = copy.deepcopy(network)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            kind = type_before_parametrizations(child)
            if kind is GDN:
                setattr(parent, name, PlainGDN(child))  # pyright: ignore[reportArgumentType]
            elif kind in (nn.Conv2d, nn.ConvTranspose2d, SubpixelDeconv):
                setattr(parent, name, _plain_convolution(child))
    return plain.eval().requires_grad_(False)


def _plain_convolution(layer) -> nn.Module:
    # Removing a parametrization from a copy would break the original: deep copies share the class that it changes.
    shared = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    arguments: dict[str, Any] = {name: getattr(layer, name) for name in shared} | {"bias": layer.bias is not None}
    if isinstance(layer, nn.ConvTranspose2d):
        arguments["output_padding"] = layer.output_padding
        plain = nn.ConvTranspose2d(**arguments)
    else:
        plain = nn.Conv2d(**arguments)
    plain.load_state_dict({"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias}))
    return plain.to(layer.weight)
