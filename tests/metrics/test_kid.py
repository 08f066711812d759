from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from nic_lightning.metrics.kid import Kid


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_the_kernel_distance_is_torchmetrics_for_all_features():
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(40, 6, generator=generator), 0.3 + torch.randn(40, 6, generator=generator)
    identity = nn.Identity()
    identity.num_features = 6
    theirs = KernelInceptionDistance(feature=identity, subsets=1, subset_size=40)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours = Kid()
    for part in real.split(7):
        ours.update(part, real=True)
    ours.update(fake.flip(0), real=False)
    assert ours.compute() == pytest.approx(float(theirs.compute()[0]), rel=1e-4)
    assert ours.compute() > 0.05
    ours.reset_fake()
    assert np.isnan(ours.compute())
