"""Residual blocks whose only spatial filter is depthwise: cheap at many channels and few samples."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.layers.convolution import conv

SLOPE = 1 / 8
"""Of the leaky ReLUs below 0."""


class DepthwiseBlock(nn.Module):
    """Inverted bottleneck with a residual connection (Sandler et al. 2018), without normalisation.

        x ─┬─ 1x1, C -> 2C ─ LReLU ─ depthwise k x k ─ LReLU ─ 1x1, 2C -> C ─ + ─
           └──────────────────────────────────────────────────────────────────┘

    The last convolution begins at zero, so that a deep stack begins as the identity.
    """

    def __init__(self, channels: int, kernel: int = 3, expansion: int = 2):
        super().__init__()
        inner = channels * expansion
        self.expand = conv(channels, inner, 1)
        self.spatial = nn.Conv2d(inner, inner, kernel, padding=kernel // 2, groups=inner)
        self.project = conv(inner, channels, 1)
        nn.init.zeros_(self.project.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        inner = F.leaky_relu(self.spatial(F.leaky_relu(self.expand(x), SLOPE)), SLOPE)
        return x + self.project(inner)
