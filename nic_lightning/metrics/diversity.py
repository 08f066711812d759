"""How much the outputs of one source image differ: mean LPIPS over their pairs (Choi et al. 2020, appendix C)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from nic_lightning.metrics.lpips import LpipsAlex


class LpipsDiversity(Metric):
    """Mean over source images of the mean LPIPS of their outputs' pairs; 45 pairs for 10 outputs.

    Outputs are taken as the generator gives them, not clipped. StarGAN v2's own evaluation averages over batches, of
    which the last and smaller one weighs as much as the others; here every image weighs the same, so that the value
    depends neither on the batch size nor on the number of ranks. Keep it out of the module that is trained.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, lpips: LpipsAlex) -> None:
        super().__init__()
        self.lpips = lpips
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @torch.no_grad()
    def update(self, outputs: Tensor) -> None:
        """Add the outputs (K, 3, H, W) of one source image, K from 2 on; images are in [0, 1] or leave it."""
        self.total += self.lpips.between(outputs).double().mean()
        self.count += 1

    def compute(self) -> Tensor:
        """The mean over the images of all ranks; NaN without one, and where images are too small for AlexNet."""
        return self.total / self.count
