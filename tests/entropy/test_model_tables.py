"""When the integer tables of entropy models are made, kept, loaded and refused."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.errors import RunError, UserError
from tests.entropy.samples import CHANNELS, bottleneck, latents


@pytest.mark.parametrize("kind", [EntropyBottleneck, GaussianConditional])
@pytest.mark.parametrize(("source_updated", "target_updated"), list(itertools.product([False, True], repeat=2)))
def test_loads_inside_a_parent_whether_updated_or_not(kind, source_updated, target_updated):
    def parent(seed: int, updated: bool):
        torch.manual_seed(seed)
        model = kind(CHANNELS) if kind is EntropyBottleneck else kind()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 0.2 * seed)  # tables of other sizes
        if updated:
            model.update()
        return torch.nn.Sequential(model)

    source, target = parent(0, source_updated), parent(1, target_updated)
    target.load_state_dict(copy.deepcopy(source.state_dict()))
    assert target.state_dict().keys() == source.state_dict().keys()
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
        assert target.state_dict()[name].dtype == value.dtype
    if source_updated:
        assert np.array_equal(target[0].tables.cdf, source[0].tables.cdf)
    else:
        with pytest.raises(RunError, match="update_tables"):
            _ = target[0].tables


def test_tables_follow_every_change_of_the_buffers():
    """Buffers that are made anew may lie at the address, and have the shape and version, of old ones."""
    model = bottleneck()
    for round_ in range(30):
        with torch.no_grad():
            model.biases[0].add_(0.1 * torch.randn_like(model.biases[0]))
        if round_ % 3 == 2:
            model.load_state_dict(copy.deepcopy(model.state_dict()))
        else:
            model.update()
            model.update()
        assert np.array_equal(model.tables.cdf, model._quantized_cdf.numpy())
        assert model.tables is model.tables  # kept until a change
    model._quantized_cdf.zero_()  # in place
    with pytest.raises(RunError, match="damaged"):
        _ = model.tables


def test_tables_with_too_few_rows_are_refused():
    """The compiled coder would read behind their end."""
    for model in (bottleneck(), GaussianConditional()):
        model.update()
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            setattr(model, name, getattr(model, name)[:2])
        with pytest.raises(RunError, match="2 CDF tables instead of"):
            _ = model.tables


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_update_of_a_diverged_density_ends_with_a_sentence(value):
    model = bottleneck()
    with torch.no_grad():
        model.matrices[1][2] = value
    with pytest.raises(UserError, match="not finite"):
        model.update()


def test_update_under_inference_mode_leaves_ordinary_tensors():
    model, gaussian = bottleneck(), GaussianConditional()
    with torch.inference_mode():
        model.update()
        gaussian.update()
    for module in (model, gaussian):
        assert not any(t.is_inference() for t in [*module.buffers(), *module.parameters()])
        assert module.tables.cdf.size
    model.loss().backward()
    assert model.quantiles.grad is not None


def test_models_made_under_inference_mode_work():
    with torch.inference_mode():
        model = bottleneck()
        string, y_hat = model.encode(latents(1, CHANNELS, 3, 3))
        assert torch.equal(model.decode(string, (3, 3)), y_hat)


def test_a_copy_has_tables_of_its_own():
    model = bottleneck()
    before = model.tables.cdf.copy()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.biases[0].add_(5)
    twin.update()
    assert np.array_equal(model.tables.cdf, before)
    assert not np.array_equal(twin.tables.offsets + twin.quantiles[:, 0, 1].round().int().detach().numpy(), 0)


def test_update_moves_the_quantiles_to_their_mass():
    model = bottleneck(spread=0.01)
    assert float(model.loss().detach()) < 0.5
    with torch.no_grad():
        model.quantiles.add_(3)
    model.update(update_quantiles=False)
    assert float(model.loss().detach()) > 1
