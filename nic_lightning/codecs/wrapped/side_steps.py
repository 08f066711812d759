"""Bin widths of z that depend on the gain, of CompressAI's variable-rate models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 0.5
"""Bin width of z at least."""


def side_step(state: Mapping[str, Tensor], gain: Tensor) -> Tensor:
    """Bin width of z at a gain, both scalars; `state` holds the layers "side_step.0", "side_step.2", "side_step.4"."""
    x = (1 / gain).view(1)
    for layer in (0, 2, 4):
        x = F.linear(x, *(state[f"side_step.{layer}.{part}"].to(x) for part in ("weight", "bias")))
        x = F.relu(x) if layer < 4 else F.softplus(x)
    return x.clamp_min(LEAST)[0]


@torch.no_grad()
def side_steps(state: Mapping[str, Tensor], gains: Tensor | None = None) -> tuple[float, ...]:
    """The same at each gain, by default those of "gain" in the state, found in float64 and rounded to float32.

    Machines differ in the 16th digit, which float32 does not keep.
    """
    gains = state["gain"] if gains is None else gains
    return tuple(float(side_step(state, gain).float()) for gain in gains.detach().double().cpu().abs())
