from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from compressai.entropy_models import EntropyBottleneck as ReferenceBottleneck

from nic_lightning.entropy.factorised import BetweenBottlenecks, BetweenSteps, EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.entropy.model import to_int32
from nic_lightning.errors import BitstreamError, UserError
from tests.entropy.samples import CHANNELS, bottleneck, latents


def reference_of(model: EntropyBottleneck) -> ReferenceBottleneck:
    reference = ReferenceBottleneck(CHANNELS, filters=(3, 3, 3))
    state = model.state_dict()
    for name in ("_offset", "_quantized_cdf", "_cdf_length"):
        setattr(reference, name, torch.empty_like(state[name]))
    reference.load_state_dict(state)
    return reference.eval()


def test_forty_six_parameters_a_channel():
    assert sum(p.numel() for p in EntropyBottleneck(192).parameters()) == 8_832


def test_rounded_latents_and_likelihoods_equal_compressai():
    model = bottleneck()
    y = latents(3, CHANNELS, 6, 4)
    y_hat, likelihood = model(y)
    expected_hat, expected = reference_of(model)(y)
    torch.testing.assert_close(y_hat, expected_hat)
    torch.testing.assert_close(likelihood, expected, rtol=1e-4, atol=1e-6)
    assert (likelihood <= 1).all()


def test_noisy_latents_and_gradients_equal_compressai():
    model, y = bottleneck(), latents(2, CHANNELS, 4, 4)
    reference = reference_of(model)
    results = []
    for m in (model, reference):
        torch.manual_seed(7)
        noise = torch.empty_like(y).uniform_(-0.5, 0.5)
        leaf = (y + noise).requires_grad_()
        flat = leaf.permute(1, 0, 2, 3).reshape(CHANNELS, 1, -1)
        likelihood = m._mass(flat, 1.0)[0] if m is model else m._likelihood(flat)[0]
        m.zero_grad()
        likelihood.log().sum().backward()
        results.append([leaf.grad, *(p.grad for n, p in m.named_parameters() if n != "quantiles")])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-2)


def test_training_adds_noise_as_wide_as_a_bin():
    model = bottleneck(steps=(0.5, 1.0, 2.0))
    y = torch.zeros(1, CHANNELS, 100, 100)
    for step in (0.5, 1.0, 2.0):
        noise = model(y, training=True, step=step)[0]
        assert noise.abs().max() <= step / 2
        assert noise.var().item() == pytest.approx(step**2 / 12, rel=0.03)


def test_right_tail_keeps_falling_where_compressai_saturates():
    model = bottleneck(spread=0.05)
    centre = float(model.medians[0, 0])
    far = torch.tensor([[[centre + d] for d in (20.0, 40.0, 60.0, 80.0)]]).expand(1, CHANNELS, 4, 1)
    mirrored = 2 * model.medians - far
    with torch.no_grad():
        right = -torch.log2(model._mass(far.permute(1, 0, 2, 3).reshape(CHANNELS, 1, -1), 1.0)[0])[0, 0]
        left = -torch.log2(model._mass(mirrored.permute(1, 0, 2, 3).reshape(CHANNELS, 1, -1), 1.0)[0])[0, 0]
    assert (right.diff() > 0).all()
    assert (left.diff() > 0).all()
    assert right[-1] > 30
    assert right.isfinite().all()
    assert (reference_of(model)._likelihood(far[0].expand(CHANNELS, 4, 1).reshape(CHANNELS, 1, 4))[0][0] == 0).any()


def test_gradient_in_the_right_tail_leads_back():
    model = bottleneck()
    y = torch.full((1, CHANNELS, 1, 1), 60.0, requires_grad=True)
    flat = y.permute(1, 0, 2, 3).reshape(CHANNELS, 1, -1)
    (-torch.log2(model._mass(flat, 1.0)[0])).sum().backward()
    assert y.grad is not None
    assert (y.grad > 0.01).all()


def test_tables_decode_with_compressai_and_the_other_way_round():
    model = bottleneck()
    reference = ReferenceBottleneck(CHANNELS, filters=(3, 3, 3))
    reference.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("_")}, strict=False)
    reference.update(force=True)
    y = latents(1, CHANNELS, 6, 4)
    torch.testing.assert_close(reference.decompress(reference.compress(y), (6, 4)), model(y)[0])
    ours = EntropyBottleneck(CHANNELS)
    ours.load_state_dict(reference.state_dict())
    string, y_hat = ours.encode(y)
    assert torch.equal(ours.decode(string, (6, 4)), y_hat)


@pytest.mark.parametrize("step", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0])
def test_decoded_latents_are_the_forward_pass_for_any_density_and_outlier(step, spread):
    model = bottleneck(spread=spread, steps=(0.5, 1.0, 2.0))
    y = latents(1, CHANNELS, 5, 7)
    y[0, 0, 0, :4] = torch.tensor([500.0, -500.0, 1e7, -1e7])
    string, y_hat = model.encode(y, step)
    assert torch.equal(model.decode(string, (5, 7), step), y_hat)
    assert torch.equal(model(y, step=step)[0], y_hat)


def test_latents_beyond_the_coders_reach_are_limited_on_both_sides():
    model, gaussian = bottleneck(), GaussianConditional()
    gaussian.update()
    y = torch.full((1, CHANNELS, 2, 2), 1e20)
    y[0, 0] = -3e9
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = y.contiguous(memory_format=memory_format)
        string, y_hat = model.encode(x)
        assert torch.equal(model.decode(string, (2, 2)), y_hat)
        assert torch.equal(model(x)[0], y_hat)
        string, y_hat = gaussian.encode(x, torch.ones_like(y))
        assert torch.equal(gaussian.decode(string, torch.ones_like(y)), y_hat)
    assert (y > 1e19).sum() == (CHANNELS - 1) * 4  # the caller's tensor is left alone


def test_latents_that_are_not_finite_are_refused():
    for value in (math.nan, math.inf):
        with pytest.raises(UserError, match="not finite"):
            bottleneck().encode(torch.full((1, CHANNELS, 1, 1), value))
    with pytest.raises(UserError, match="not finite"):
        to_int32(torch.tensor([math.nan]))


def test_real_bits_match_the_estimate():
    model = bottleneck(spread=0.3)
    # Symbols drawn from the tables themselves.
    rng = np.random.default_rng(0)
    tables = model.tables
    symbols = np.stack(
        [
            np.searchsorted(tables.cdf[c, : tables.lengths[c]], rng.integers(0, 65535, 4096), side="right") - 1
            for c in range(CHANNELS)
        ]
    )
    symbols = np.minimum(symbols, tables.lengths[:, None] - 3) + tables.offsets[:, None]
    y = model.dequantise(torch.from_numpy(symbols).float().view(1, CHANNELS, 64, 64))
    estimate = float(-torch.log2(model(y)[1]).sum().detach())
    assert 8 * len(model.encode(y)[0]) == pytest.approx(estimate, rel=0.005)


def test_a_string_of_another_size_or_model_is_refused():
    model = bottleneck()
    string, _ = model.encode(latents(1, CHANNELS, 4, 4))
    for size in ((4, 3), (5, 4), (1, 1), (40, 40)):
        with pytest.raises(BitstreamError):
            model.decode(string, size)


def test_between_two_bottlenecks():
    low, high = bottleneck(0, spread=0.3), bottleneck(1, spread=1.0)
    for t in (0.0, 0.31, 1.0):
        between = BetweenBottlenecks(low, high, t)
        y = latents(2, CHANNELS, 4, 6)
        y_hat, likelihood = between(y)
        assert (likelihood <= 1).all()
        assert (likelihood > 0).all()
        strings = [between.encode(image) for image in y.split(1)]
        decoded = torch.cat([between.decode(s, (4, 6)) for s, _ in strings])
        assert torch.equal(decoded, y_hat)
        estimate = float(-torch.log2(likelihood).sum())
        assert 8 * sum(len(s) for s, _ in strings) == pytest.approx(estimate, abs=2 * 64 + 0.001 * estimate)
    assert torch.equal(BetweenBottlenecks(low, high, 0.0).medians, low.medians)
    with pytest.raises(UserError, match="train at a trained lambda"):
        between(y, training=True)


def test_between_at_an_end_costs_about_what_the_trained_one_does():
    low, high = bottleneck(0, spread=0.3), bottleneck(1, spread=1.0)
    y = latents(1, CHANNELS, 32, 32, scale=2.0)
    trained = float(-torch.log2(low(y)[1]).sum().detach())
    assert float(-torch.log2(BetweenBottlenecks(low, high, 0.0)(y)[1]).sum()) == pytest.approx(trained, rel=0.01)


def test_between_two_bin_widths():
    """Tables cost what those of the very bin width would: a hundredth more at most, and latents are on its grid."""
    torch.manual_seed(0)
    model = EntropyBottleneck(3, filters=(3, 3, 3, 3), steps=(1.5, 1.0), reach=6.0)
    exact = EntropyBottleneck(3, filters=(3, 3, 3, 3), steps=(1.2,), reach=6.0)
    exact.load_state_dict(model.state_dict())
    for one in (model, exact):
        one.update()
    between = BetweenSteps(model, 0, 1.2)
    y = 2.0 * torch.randn(1, 3, 40, 50)
    string, y_hat = between.encode(y, 1.2)
    assert torch.equal(y_hat, exact.encode(y, 1.2)[1])
    assert torch.equal(between.decode(string, (40, 50), 1.2), y_hat)
    assert len(string) == pytest.approx(len(exact.encode(y, 1.2)[0]), rel=0.01)
    bits = float(-between(y, step=1.2)[1].log2().sum())
    assert 8 * len(string) == pytest.approx(bits, abs=64 + 0.001 * bits)  # the state at the string's end


def test_a_learned_bin_width_gets_a_gradient():
    step = torch.tensor(1.5, requires_grad=True)
    _, likelihood = EntropyBottleneck(2)(torch.randn(1, 2, 8, 8), training=True, step=step)
    likelihood.log2().sum().backward()
    assert step.grad is not None
    assert float(step.grad) > 0  # wider bins take fewer bits


@pytest.mark.parametrize("part", [1, 25, 70, 10**9])
def test_strings_do_not_depend_on_how_many_symbols_are_coded_at_a_time(monkeypatch, part):
    model, y = bottleneck(steps=(0.5, 1.0)), latents(1, CHANNELS, 6, 4)
    expected = [model.encode(y, step) for step in model.steps]
    monkeypatch.setattr("nic_lightning.entropy.factorised._PART", part)
    for step, (string, y_hat) in zip(model.steps, expected, strict=True):
        again, same = model.encode(y, step)
        assert again == string
        assert torch.equal(same, y_hat)
        assert torch.equal(model.decode(string, (6, 4), step), y_hat)
