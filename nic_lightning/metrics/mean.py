"""A mean over images, as a metric that adds up over batches and ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanOverImages(Metric):
    """Mean of one value an image; images whose value is NaN (too small for it) are left out. State is float64."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Add the values (N,) of N images."""
        valid = ~values.isnan()
        self.total += values[valid].double().sum()
        self.count += valid.sum()

    def compute(self) -> Tensor:
        """The mean over the images of all ranks, float32; NaN without one."""
        return (self.total / self.count).float()
