from __future__ import annotations

import pytest
import torch

from nic_lightning.metrics.mean_rate import Bpp
from nic_lightning.metrics.rate import bits, bpp


def test_bits_sum_over_latents():
    likelihoods = {"y": torch.full((2, 4, 3, 3), 0.5), "z": torch.full((2, 1, 1, 1), 0.25)}
    assert bits(likelihoods).tolist() == [38.0, 38.0]
    assert bpp(likelihoods, (2, 19)).tolist() == [1.0, 1.0]


def test_no_likelihoods_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        bits({})


def test_bpp_is_the_mean_over_images():
    metric = Bpp()
    metric.update({"y": torch.full((1, 1, 10, 10), 0.5)}, (10, 10))
    metric.update({"y": torch.full((1, 1, 20, 20), 0.125)}, (20, 20))
    assert metric.compute().item() == 2.0
    metric.reset()
    assert metric.count == 0
