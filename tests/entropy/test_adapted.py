"""A bottleneck with adapted tables: files, costs, and what it promises beside the static one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nic_lightning.entropy.adapted import FLAG, AdaptedBottleneck
from nic_lightning.entropy.factorised import BetweenBottlenecks
from nic_lightning.entropy.model import to_int32
from nic_lightning.entropy.side_information import parts_of_larger_images, side_information
from nic_lightning.entropy.tables import encode_backwards
from nic_lightning.errors import BitstreamError, RunError, UserError
from tests.entropy.samples import CHANNELS, bottleneck, latents

BINS = 32


def adapted(seed: int = 0, spread: float = 3.0, made: bool = True, **arguments) -> AdaptedBottleneck:
    """Around a bottleneck with tables of some dozen symbols; networks whose corrections are a few bits."""
    static = bottleneck(seed, spread=2.0, **arguments)
    torch.manual_seed(seed)
    model = AdaptedBottleneck(static, bins=BINS, hidden=8, side=4, groups=4)
    with torch.no_grad():
        for parameter in model.transforms.parameters():
            parameter.mul_(spread)
    if made:
        model.update()
    return model.eval()


def trained(y: torch.Tensor, steps: int = 150, **arguments) -> AdaptedBottleneck:
    """Fitted to the latents y (N, C, h, w), as parts of images of 64 times as many."""
    model = adapted(spread=1.0, **arguments).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        with parts_of_larger_images(64.0), side_information() as notes:
            _, likelihood = model(y)
        loss = -torch.log2(likelihood).sum() - torch.log2(notes[0].q).sum() / 64
        (loss / y.numel()).backward()
        optimizer.step()
    model.update()
    return model.eval()


@pytest.fixture(scope="module")
def narrow() -> torch.Tensor:
    """Latents that are narrower than the static tables say."""
    return latents(2, CHANNELS, 16, 16, scale=0.7)


@pytest.fixture(scope="module")
def model(narrow) -> AdaptedBottleneck:
    return trained(narrow)


def large(y: torch.Tensor) -> torch.Tensor:
    """64 copies of each image's latents, side by side."""
    return y.repeat(1, 1, 8, 8)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("size", [(3, 5), (48, 40)])
def test_strings_bring_back_the_latents(model, seed, size):
    y = latents(2, CHANNELS, *size, seed=seed, scale=0.7)
    chosen = []
    for image in y.split(1):
        string, y_hat = model.encode(image)
        assert torch.equal(model.decode(string, size), y_hat)
        assert torch.equal(y_hat, model(image)[0])
        plan = model.plan(image)
        chosen.append(plan.adapted)
        estimate = plan.rates.chosen
        # rANS ends in 64 bits of state, and its words are whole; .1 % is its loss by precision
        assert 8 * len(string) <= 1.001 * estimate + 96
    assert all(chosen) or size == (3, 5)


def test_a_string_does_not_depend_on_what_else_is_coded(model, narrow):
    one, again = model.encode(large(narrow[:1]))[0], model.encode(large(narrow[:1]))[0]
    model.encode(latents(1, CHANNELS, 7, 7))
    assert one == again == copy.deepcopy(model).encode(large(narrow[:1]))[0]


def test_adapted_tables_save_more_than_they_take(model, narrow):
    rates = model.plan(large(narrow[:1])).rates
    assert rates.side + rates.adapted.sum() < 0.9 * rates.static.sum()


def test_ideal_adapted_and_static_rates_by_channel(model, narrow):
    y = narrow[:1]
    rates = model.plan(y).rates
    symbols = model.quantise(y)[0].flatten(1).int().numpy()
    for c in range(CHANNELS):
        _, counts = np.unique(symbols[c], return_counts=True)
        ideal = -(counts * np.log2(counts / counts.sum())).sum()
        assert rates.ideal[c] == pytest.approx(ideal)  # nothing is escaped here
        row = np.full(symbols.shape[1], c, np.int32)
        assert rates.static[c] == pytest.approx(model.tables.bits(symbols[c], row).sum())
    assert (rates.ideal <= rates.static).all()
    assert (rates.ideal <= rates.adapted).all()


def test_the_gap_to_the_ideal_is_the_divergence(model, narrow):
    """CE(p, q) - H(p) = KL(p || q), of the static tables."""
    y = narrow[:1]
    rates, tables = model.plan(y).rates, model.tables
    symbols = model.quantise(y)[0].flatten(1).int().numpy()
    for c in range(CHANNELS):
        values, counts = np.unique(symbols[c], return_counts=True)
        p = counts / counts.sum()
        entry = values - tables.offsets[c]
        q = (tables.cdf[c, entry + 1] - tables.cdf[c, entry]) / 65536
        assert rates.static[c] - rates.ideal[c] == pytest.approx(counts.sum() * (p * np.log2(p / q)).sum(), abs=1e-5)


@pytest.mark.parametrize("scale", [0.05, 0.7, 6.0, 40.0])
@pytest.mark.parametrize("size", [(1, 1), (9, 7), (40, 40)])
def test_no_image_takes_more_than_one_bit_more_than_without(scale, size):
    """Also by networks that are not trained at all, and where symbols lie far outside the tables."""
    static, model = bottleneck(0, spread=2.0), adapted()
    y = latents(1, CHANNELS, *size, scale=scale)
    (string, y_hat), (without, same) = model.encode(y), static.encode(y)
    assert torch.equal(y_hat, same)
    assert torch.equal(model.decode(string, size), y_hat)
    assert model.plan(y).rates.chosen <= model.plan(y).rates.static.sum() + 1
    assert len(string) <= len(without) + 4  # one bit may begin a word


def test_static_tables_take_exactly_one_bit():
    assert FLAG.bits(np.array([0, 1]), np.zeros(2, np.int32)).tolist() == [1.0, pytest.approx(1.0, abs=5e-5)]


def test_likelihoods_are_those_of_the_tables(model, narrow):
    for y in (large(narrow), latents(2, CHANNELS, 6, 6, scale=20.0)):
        with side_information() as notes:
            y_hat, likelihood = model(y)
        assert likelihood.shape == y_hat.shape == y.shape
        for i, image in enumerate(y.split(1)):
            plan, symbols = model.plan(image), to_int32(model.quantise(image))
            bits = plan.tables.bits(symbols, model._rows(image, first=plan.first)).sum()
            side = plan.rates.side if plan.adapted else 1.0
            # likelihoods are float32, whose logarithms are off by 1e-7 each
            assert -float(torch.log2(likelihood[i].double()).sum()) == pytest.approx(bits, rel=1e-6)
            found = sum(-float(torch.log2(t[i].double()).sum()) for t in (notes[0].q, notes[0].flag))
            assert found == pytest.approx(side, rel=1e-5)
            assert bits + side >= plan.rates.chosen * (1 - 1e-9)  # digits of escaped symbols come on top


def test_the_estimate_in_training_is_near_the_real_one(model, narrow, monkeypatch):
    y, forward = large(narrow), model.entropy_q.forward
    monkeypatch.setattr(model.entropy_q, "forward", lambda q, training: forward(q, training=False))  # without noise
    with torch.no_grad(), side_information() as notes:
        _, likelihood = model(y, training=True)
    real = [model.plan(image).rates for image in y.split(1)]
    estimate = -float(torch.log2(likelihood).sum())
    # Logits rounded to 2^-9 bits change code lengths by some 1e-3; rows lose one unit to rounding down.
    assert estimate == pytest.approx(sum(r.adapted.sum() for r in real), rel=2e-3)
    saved = sum(r.static.sum() for r in real) - sum(r.adapted.sum() for r in real)
    assert float(notes[0].saved.sum()) == pytest.approx(saved, rel=5e-3)  # a third of what it is taken from


def test_everything_in_the_networks_learns_and_nothing_else():
    model = adapted(made=False).train()
    with side_information() as notes:
        y_hat, likelihood = model(latents(2, CHANNELS, 8, 8).requires_grad_())
    (-torch.log2(likelihood).sum() - torch.log2(notes[0].q).sum() + model.entropy_q.loss() + 0 * y_hat.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"transforms", "entropy_q"}


def test_an_update_leaves_the_static_tables_alone():
    model = adapted()
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    model.update()
    kept = {"centres", "_quantized_cdf", "_cdf_length", "_offset", "likelihood_lower_bound.bound"}
    after = model.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert not changed & kept
    assert {"exact.weight_0", "exact.bias_4"} <= changed


def test_a_state_dict_is_all_that_a_decoder_needs(model, narrow):
    string, y_hat = model.encode(large(narrow[:1]))
    other = adapted(seed=5, made=False)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        for parameter in other.transforms.parameters():
            parameter.zero_()  # decoders take the integers
    assert torch.equal(other.decode(string, (128, 128)), y_hat)


def test_channels_that_are_nearly_always_one_symbol_keep_their_rows():
    model = adapted()
    cdf = model._quantized_cdf.clone()
    length, offset = int(model._cdf_length[2]), int(model._offset[2])
    frequency = torch.ones(length - 1, dtype=torch.int32)
    frequency[-offset] += 65536 - len(frequency)
    cdf[2, 1:length] = frequency.cumsum(0)
    model._quantized_cdf = cdf
    made = model._adapted(np.full((4, BINS // 8), 9, np.int32), 4096, 1.0)
    assert np.array_equal(made.cdf[2, :length], cdf[2, :length].numpy())
    assert not np.array_equal(made.cdf[1], model.tables.cdf[1])


def test_steps_have_tables_of_their_own():
    model = adapted(steps=(0.5, 1.0))
    for step in (0.5, 1.0):
        for scale in (0.3, 5.0):
            y = latents(1, CHANNELS, 24, 24, scale=scale)
            string, y_hat = model.encode(y, step)
            assert torch.equal(model.decode(string, (24, 24), step), y_hat)
            assert torch.equal(y_hat, model(y, step=step)[0])


def test_between_two_of_them_tables_are_static():
    low, high = adapted(0), adapted(1)
    plain = BetweenBottlenecks(bottleneck(0, spread=2.0), bottleneck(1, spread=2.0), 0.3)
    y = latents(1, CHANNELS, 8, 8)
    assert BetweenBottlenecks(low, high, 0.3).encode(y)[0] == plain.encode(y)[0]


@pytest.mark.parametrize("length", [0, 4, 8, 12, 16, 40])
def test_cut_strings_end_in_a_sentence(model, narrow, length):
    string, _ = model.encode(large(narrow[:1]))
    with pytest.raises(BitstreamError, match=r"cut|altered"):
        model.decode(string[:length], (128, 128))


def test_a_flag_that_is_none(model):
    string = encode_backwards(1, [(FLAG, np.array([7], np.int32), np.zeros(1, np.int32))])
    with pytest.raises(BitstreamError, match="neither static nor adapted"):
        model.decode(string, (4, 4))


@pytest.mark.parametrize("value", [2**30, -(2**30)])
def test_side_information_of_a_hostile_string_is_taken_within_bounds(model, value):
    """Symbols of q that no encoder sends: tables come out, and the string is refused at its end at the latest."""
    q = np.full(4 * BINS // 8, value, np.int32)
    zero = np.zeros(1, np.int32)
    parts = [(model.entropy_q.tables, q, model._q_rows()), (FLAG, np.ones(1, np.int32), zero)]
    with pytest.raises(BitstreamError):
        model.decode(encode_backwards(q.size + 1, parts), (16, 16))


def test_without_tables_there_are_no_strings():
    model, y = adapted(made=False), latents(1, CHANNELS, 4, 4)
    with pytest.raises(RunError, match="never made"):
        model.encode(y)


def test_latents_that_are_not_finite():
    with pytest.raises(UserError, match="not finite"):
        adapted().encode(latents(1, CHANNELS, 4, 4).fill_(float("nan")))
