"""Layers that work on each point alone, with batch normalisation folded into the convolutions, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nic_lightning.layers.points import Interleave

STEPS = 12
"""Roundings of a value from one layer to the next besides the sum: of the folded weight, the shift, the scale."""


@dataclass(frozen=True)
class Folded:
    """A convolution of width 1 and what follows it, float64: outputs are relu(weight @ inputs[first:] + bias)."""

    weight: np.ndarray
    """(outputs, inputs of a group)"""
    bias: np.ndarray
    first: np.ndarray
    """Where the inputs of each output begin: 0 without groups."""
    shift: np.ndarray
    """Sum of the absolute values that make the bias."""


def folded_layers(layers: nn.Sequential) -> list[Folded] | None:
    """The layers of a point encoder, batch normalisation folded in; None where they are not all of known kinds."""
    found: list[Folded] = []
    modules = list(layers)
    while modules:
        kinds = [type(module) for module in modules[:4]]
        turns = modules.pop(1) if kinds[1:2] == [Interleave] else None
        conv, norm, *_ = *modules, None
        known = [type(module) for module in modules[:3]] == [nn.Conv1d, nn.BatchNorm1d, nn.ReLU]
        if not known or conv.kernel_size != (1,) or conv.bias is None or not (norm.affine and norm.track_running_stats):
            return None
        found.append(_folded(conv, turns, norm))
        modules = modules[3:]
    return found


@torch.no_grad()
def _folded(conv: nn.Module, turns: nn.Module | None, norm: nn.Module) -> Folded:
    assert isinstance(conv, nn.Conv1d)
    assert isinstance(norm, nn.BatchNorm1d)
    outputs = conv.out_channels
    order = torch.arange(outputs)
    if turns is not None:
        order = turns(order.view(1, outputs, 1).double()).long().flatten()
    weight, bias = conv.weight.double()[order, :, 0], conv.bias.double()[order]  # pyright: ignore
    mean, variance = norm.running_mean.double(), norm.running_var.double()  # pyright: ignore
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    first = order // (outputs // conv.groups) * (conv.in_channels // conv.groups)
    return Folded(
        (weight * scale[:, None]).numpy(),
        ((bias - mean) * scale + norm.bias.double()).numpy(),
        first.numpy(),
        ((bias.abs() + mean.abs()) * scale.abs() + norm.bias.double().abs()).numpy(),
    )


def error_of_sums(layers: list[Folded]) -> np.ndarray:
    """How far two sums of float64 in different orders may be apart in a feature, for coordinates within +-1.

    A sum of n rounded steps is at most n 2^-53 1.01 of the sum of absolute values away from the true one (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1). Of the layers the steps add up, and ReLU and maximum
    enlarge nothing.
    """
    steps, size = 0, np.ones(3)
    for layer in layers:
        inputs = layer.first[:, None] + np.arange(layer.weight.shape[1])
        size = (np.abs(layer.weight) * size[inputs]).sum(1) + layer.shift
        steps += layer.weight.shape[1] + STEPS
    return 2 * steps * 2.0**-53 * 1.01 * size
