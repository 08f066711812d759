"""NRMSE of predicted feature tensors as a torchmetrics class that adds up over ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from nic_lightning.analysis.latent_motion.error import nrmse


class NormalisedRootMeanSquareError(Metric):
    """Mean over samples of `nrmse`: root of the mean square error over a mask, by the range (ICASSP 2021, Eq. 13).

    The formula is not linear, so it is a mean of errors of samples, as in the paper's curves, and not an error of the
    pooled values. Samples of which no value counts are left out. States are a sum in float64 and a count in int64.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, actual: Tensor, mask: Tensor | None = None) -> None:
        """Add samples: predicted and actual (N, C, h, w), mask (N, 1, h, w) bool of what counts."""
        errors = nrmse(predicted, actual, mask)
        counted = ~errors.isnan()
        self.total += errors[counted].sum()
        self.count += counted.sum()

    def compute(self) -> Tensor:
        """Mean over the samples so far, NaN where there is none."""
        return (self.total / self.count).float()
