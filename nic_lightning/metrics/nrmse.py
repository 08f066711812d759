"""NRMSE of predicted feature tensors as a torchmetrics class that adds up over ranks."""

from __future__ import annotations

from torch import Tensor

from nic_lightning.analysis.latent_motion.error import nrmse
from nic_lightning.metrics.mean import MeanOverImages


class NormalisedRootMeanSquareError(MeanOverImages):
    """Mean over samples of `nrmse`: root of the mean square error over a mask, by the range (ICASSP 2021, Eq. 13).

    The formula is not linear, so it is a mean of errors of samples, as in the paper's curves, and not an error of the
    pooled values. Samples of which no value counts are left out. States are a sum in float64 and a count in int64.
    """

    is_differentiable = False
    higher_is_better = False

    def update(self, predicted: Tensor, actual: Tensor, mask: Tensor | None = None) -> None:
        """Add samples: predicted and actual (N, C, h, w), mask (N, 1, h, w) bool of what counts."""
        self.add(nrmse(predicted, actual, mask))
