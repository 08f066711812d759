from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from compressai.entropy_models import GaussianConditional as ReferenceGaussian

from nic_lightning.entropy.gaussian import GaussianConditional, rows_of_file_version
from nic_lightning.errors import UserError
from tests.entropy.samples import latents


def test_gaussian_equals_compressai():
    model, reference = GaussianConditional(), ReferenceGaussian(GaussianConditional().scale_table.tolist())
    model.update()
    reference.update()
    for name in ("_offset", "_quantized_cdf", "_cdf_length"):
        assert torch.equal(getattr(model, name), getattr(reference, name))
    y, scales = latents(2, 3, 5, 5), latents(2, 3, 5, 5, seed=1).exp()
    for mine, theirs in zip(model(y, scales, training=False), reference(y, scales, training=False), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert np.array_equal(model.rows(scales), reference.build_indexes(scales).flatten().numpy())


def test_rows_are_those_of_compressai_in_both_precisions():
    model = GaussianConditional()
    reference = ReferenceGaussian(model.scale_table.tolist(), scale_bound=GaussianConditional.SCALE_MIN)
    scales = torch.cat([model.scale_table, torch.tensor([0.0, -1.0, 0.05, 0.11, 0.1101, 0.12, 300.0])]).view(
        1, -1, 1, 1
    )
    expected = reference.build_indexes(scales).flatten().numpy()
    assert (expected[-7:-3] == 0).all()
    assert np.array_equal(model.rows(scales), expected)
    assert np.array_equal(model.rows(scales.double()), expected)


def test_files_of_version_1_never_took_the_smallest_scale_in_float64():
    model, scales = GaussianConditional(), torch.tensor([0.0, 0.05, 0.11, 0.2, 1.0]).view(1, -1, 1, 1)
    with rows_of_file_version(1):
        old = model.rows(scales.double())
        assert model.rows(scales)[0] == 0
    new = model.rows(scales.double())
    assert list(old[:3]) == [1, 1, 1]
    assert list(new[:3]) == [0, 0, 0]
    assert np.array_equal(old[3:], new[3:])


def test_gaussian_is_float32_under_autocast():
    model = GaussianConditional()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y_hat, likelihood = model(latents(1, 2, 2, 2).bfloat16(), torch.ones(1, 2, 2, 2).bfloat16())
    assert y_hat.dtype == likelihood.dtype == torch.float32


def test_gaussian_scales_at_every_boundary_round_trip():
    model = GaussianConditional()
    model.update()
    table = model.scale_table.double()
    scales = torch.cat([table, table * (1 + 1e-12), torch.tensor([0.0, -5.0, 1e-300, 1e300, math.inf, math.nan])])
    scales = scales.view(1, -1, 1, 1)
    y = latents(*scales.shape, scale=20.0)
    y[0, :2] = 500.0
    string, y_hat = model.encode(y, scales)
    assert torch.equal(model.decode(string, scales), y_hat)
    assert torch.equal(y_hat, torch.round(y))
    assert model.rows(scales).max() < GaussianConditional.LEVELS


def test_gaussian_with_means_equals_compressai():
    model, reference = GaussianConditional(), ReferenceGaussian(GaussianConditional().scale_table.tolist())
    y, means = latents(2, 3, 5, 5), latents(2, 3, 5, 5, seed=2)
    scales = latents(2, 3, 5, 5, seed=1).exp()
    expected_hat, expected = reference(y, scales, means, training=False)
    torch.testing.assert_close(model.quantise(y, means) + means, expected_hat)
    torch.testing.assert_close(model.likelihood(expected_hat, scales, means), expected)
    assert (model.quantise(torch.tensor([1e20, -1e20])) == torch.tensor([2.0**30, -(2.0**30)])).all()


def test_forward_encode_and_decode_take_means():
    model, reference = GaussianConditional(), ReferenceGaussian(GaussianConditional().scale_table.tolist())
    model.update()
    y, means = latents(1, 3, 5, 5), latents(1, 3, 5, 5, seed=2)
    scales = latents(1, 3, 5, 5, seed=1).exp()
    for mine, theirs in zip(
        model(y, scales, means, training=False), reference(y, scales, means, training=False), strict=True
    ):
        torch.testing.assert_close(mine, theirs)
    torch.manual_seed(3)
    noisy, likelihood = model(y, scales, means, training=True)
    assert (noisy - y).abs().max() <= 0.5
    torch.testing.assert_close(likelihood, model.likelihood(noisy, scales, means))
    for given in (means, means.double(), torch.zeros_like(means)):
        string, y_hat = model.encode(y, scales, given)
        assert torch.equal(model.decode(string, scales, given), y_hat)
        torch.testing.assert_close(y_hat, model(y, scales, given.float(), training=False)[0])
        bits = -torch.log2(model.likelihood(y_hat, scales, given.float())).sum().item()
        assert 8 * len(string) < bits + 64
    plain, rounded = model.encode(y, scales)
    assert (plain, string) == (string, plain)  # means of zero are none
    assert torch.equal(rounded, torch.round(y))
    with pytest.raises(UserError, match="finite"):
        model.encode(y, scales, means * math.nan)
