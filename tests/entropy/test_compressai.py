"""Our entropy models against CompressAI's, to the last bit: state dicts, initial weights, tables, losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compressai.entropy_models import EntropyBottleneck as ReferenceBottleneck
from compressai.entropy_models import GaussianConditional as ReferenceGaussian
from compressai.entropy_models.entropy_models import pmf_to_quantized_cdf
from compressai.ops import LowerBound as ReferenceBound
from torch import Tensor, nn

from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.entropy.model import LowerBound
from nic_lightning.entropy.tables import to_cdf
from nic_lightning.errors import RunError

CHANNELS = 12
FILTERS = [(3, 3, 3), (3, 3, 3, 3), (2,)]


def both(filters: tuple[int, ...] = (3, 3, 3), seed: int = 0) -> tuple[EntropyBottleneck, ReferenceBottleneck]:
    models = []
    for kind in (EntropyBottleneck, ReferenceBottleneck):
        torch.manual_seed(seed)
        models.append(kind(CHANNELS, filters=filters))
    return models[0], models[1]


def moved(model: nn.Module, seed: int = 1) -> None:
    """Other weights, as training makes them; densities stay monotone whatever they are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.3)


def equal(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert list(mine) == list(theirs)
    for name, value in mine.items():
        assert value.dtype == theirs[name].dtype, name
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("filters", FILTERS)
def test_initial_state_dicts_are_equal(filters):
    mine, theirs = both(filters)
    equal(mine.state_dict(), theirs.state_dict())
    assert [n for n, _ in mine.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    scales = GaussianConditional().scale_table.tolist()
    equal(GaussianConditional().state_dict(), ReferenceGaussian(scales, scale_bound=0.11).state_dict())


@pytest.mark.parametrize("seed", range(4))
def test_the_quantiles_loss_and_its_gradient_are_equal(seed):
    mine, theirs = both(seed=seed)
    found = []
    for model in (mine, theirs):
        moved(model, seed)
        model.loss().backward()
        found.append((model.loss().detach(), model.quantiles.grad))
        assert all(p.grad is None for n, p in model.named_parameters() if n != "quantiles")
    # Ours adds the bias within the matrix product: one rounding of float32 less for each layer.
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_quantiles_are_found_where_compressai_finds_them(seed):
    mine, theirs = both(seed=seed)
    for model in (mine, theirs):
        moved(model, seed)
    mine.update()
    theirs.update(force=True, update_quantiles=True)
    # Bisection ends at 1e-3 or the 1e-4th part; a rounding error may turn its last step.
    torch.testing.assert_close(mine.quantiles, theirs.quantiles, rtol=1e-4, atol=1e-3)
    assert torch.equal(mine._offset, theirs._offset)
    assert torch.equal(mine._cdf_length, theirs._cdf_length)


def test_gaussian_tables_are_equal():
    mine = GaussianConditional()
    theirs = ReferenceGaussian(mine.scale_table.tolist(), scale_bound=0.11)
    mine.update()
    theirs.update()
    equal(mine.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("with_means", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_gaussian_likelihoods_and_gradients_are_equal(with_means, training):
    mine = GaussianConditional()
    theirs = ReferenceGaussian(mine.scale_table.tolist(), scale_bound=0.11)
    generator = torch.Generator().manual_seed(3)
    y, scales, means = (torch.randn(2, 5, 6, 7, generator=generator) * 4 for _ in range(3))
    found = []
    for model in (mine, theirs):
        leaves = [t.clone().requires_grad_() for t in (y, scales, means)]  # scales below the bound, negative ones too
        torch.manual_seed(5)
        y_hat, likelihood = model(*leaves[: 2 + with_means], training=training)
        likelihood.log().sum().backward()
        found.append([y_hat, likelihood, *(leaf.grad for leaf in leaves[: 2 + with_means])])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_lower_bound_passes_the_same_gradients():
    x = torch.tensor([-1.0, 0.5, 0.5, 2.0, 2.0, -1.0])
    weights = torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0, -1.0])
    found = []
    for bound in (LowerBound(0.5), ReferenceBound(0.5)):
        leaf = x.clone().requires_grad_()
        (bound(leaf) * weights).sum().backward()
        found.append((bound(leaf).detach(), leaf.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][1].tolist() == [0, 1, -1, 1, -1, -1]


PMFS = {
    "flat": np.ones(100) / 100,
    "one symbol": np.array([1.0]),
    "peak with zeros": np.concatenate([np.zeros(500), [1.0], np.zeros(500)]),
    "laplace": np.exp(-np.abs(np.arange(-800, 801)) / 3.0),
    "wide": np.exp(-np.abs(np.arange(-4000, 4001)) / 400.0) / 800,
    "far from a sum of 1": np.array([0.2, 1e-7, 0.3, 0.0]),
    "donors in a tie": np.concatenate([np.full(20, 3 / 65536), np.zeros(30), [0.9]]),
    "halves": (np.arange(64) + 0.5) / 65536,
}


@pytest.mark.parametrize("name", PMFS)
def test_integers_of_probabilities_are_equal(name):
    pmf = torch.tensor(PMFS[name], dtype=torch.float32)
    assert np.array_equal(to_cdf(pmf.numpy()), pmf_to_quantized_cdf(pmf).numpy())


@pytest.mark.parametrize("seed", range(30))
def test_integers_of_random_probabilities_are_equal(seed):
    generator = np.random.default_rng(seed)
    pmf = generator.gamma(generator.choice([0.01, 0.1, 1.0]), size=generator.integers(2, 3000)).astype(np.float32)
    pmf = torch.from_numpy(pmf / pmf.sum())
    cdf = to_cdf(pmf.numpy())
    assert np.array_equal(cdf, pmf_to_quantized_cdf(pmf).numpy())
    assert cdf[0] == 0
    assert cdf[-1] == 65536
    assert (np.diff(cdf) > 0).all()


@pytest.mark.parametrize("pmf", [[0.5, -0.1], [np.nan, 1.0], [np.inf, 1.0], [0.0, 0.0]])
def test_what_are_no_probabilities_is_refused(pmf):
    with pytest.raises(RunError):
        to_cdf(np.array(pmf))
