"""Layers that work on each point of a cloud alone: features (N, C, P)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gain(nn.Module):
    """A trained factor for each channel, times a fixed one: y_c = factor * weight_c * x_c, (N, C, P)."""

    def __init__(self, channels: int, factor: float):
        super().__init__()
        self.factor, self.weight = factor, nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scaled features."""
        return self.factor * self.weight * x


class Interleave(nn.Module):
    """Channels of the groups in turn, so that the next grouped convolution sees all of them (ShuffleNet, 2018)."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """The same channels in another order."""
        n, c, p = x.shape
        return x.view(n, self.groups, c // self.groups, p).transpose(1, 2).reshape(n, c, p)


def point_layers(fan_in: int, fan_out: int, groups: int = 1, interleave: int = 1) -> list[nn.Module]:
    """A convolution of width 1, batch normalisation and ReLU; `interleave` groups of its outputs are put in turn."""
    turns = [Interleave(interleave)] if interleave > 1 else []
    return [nn.Conv1d(fan_in, fan_out, 1, groups=groups), *turns, nn.BatchNorm1d(fan_out), nn.ReLU()]
