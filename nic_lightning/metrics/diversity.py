"""How much the outputs of one source image differ: mean LPIPS over their pairs (Choi et al. 2020, appendix C)."""

from __future__ import annotations

import torch
from torch import Tensor

from nic_lightning.metrics.lpips import LpipsAlex
from nic_lightning.metrics.mean import MeanOverImages


class LpipsDiversity(MeanOverImages):
    """Mean over source images of the mean LPIPS of their outputs' pairs; 45 pairs for 10 outputs.

    Outputs are taken as the generator gives them, not clipped; where they are too small for AlexNet, the mean is NaN.
    StarGAN v2's own evaluation averages over batches, of which the last and smaller one weighs as much as the others;
    here every image weighs the same, so that the value depends neither on the batch size nor on the number of ranks.
    Keep it out of the module that is trained.
    """

    def __init__(self, lpips: LpipsAlex) -> None:
        super().__init__()
        self.lpips = lpips

    @torch.no_grad()
    def update(self, outputs: Tensor) -> None:
        """Add the outputs (K, 3, H, W) of one source image, K from 2 on; images are in [0, 1] or leave it."""
        self.add(self.lpips.between(outputs).double().mean()[None])
