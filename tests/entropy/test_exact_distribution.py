"""The integer path to adapted tables against plain twins, and against itself under other settings."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nic_lightning.entropy.distribution import DistributionTransforms, shuffle
from nic_lightning.entropy.exact_distribution import EXP2, LOG2, ExactSynthesis, adapted_tables
from nic_lightning.entropy.static_window import StaticWindow, live_rows
from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import RunError, UserError
from tests.entropy.samples import CHANNELS, bottleneck

BINS, SIDE = 32, 4
LEVELS = (0, 21, 40, 41, 96)


def networks(seed: int = 0, spread: float = 4.0) -> tuple[DistributionTransforms, ExactSynthesis]:
    torch.manual_seed(seed)
    transforms = DistributionTransforms(CHANNELS, BINS, hidden=8, side=SIDE, groups=4)
    with torch.no_grad():
        for parameter in transforms.parameters():
            parameter.mul_(spread)
        transforms.gain.uniform_(-1, 1)
        transforms.synthesis_slope.normal_()
    exact = ExactSynthesis(transforms)
    exact.make(transforms)
    return transforms, exact


def symbols(seed: int = 0, largest: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(-largest, largest + 1, (SIDE, BINS // 8)).astype(np.int32)


def twin(exact: ExactSynthesis, q: np.ndarray, level: int) -> np.ndarray:
    """The same integers one after the other, in int64 alone."""
    x = np.zeros(q.shape, np.int64)
    for c in range(SIDE):
        exponent = -int(exact.gain[c]) * (level - 40)
        octave = -(-exponent // 256)
        factor = int(EXP2[256 * octave - exponent]) >> min(max(30 - 12 - octave, 6), 62)
        x[c] = [min(max(int(value) * factor, -(2**24)), 2**24) for value in q[c]]
    for i, (stride, padding, groups) in enumerate(
        [(1, 7, 1), (2, 7, 4), (2, 7, 4), (2, 7, 4), (1, 2, exact._layout[4][2])]
    ):
        weight, bias = (getattr(exact, f"{name}_{i}").numpy().astype(np.int64) for name in ("weight", "bias"))
        bias = bias + (level - 40) * exact.slope.numpy() if i == 0 else bias
        own, taps = weight.shape[0] // groups, weight.shape[2]
        out = np.repeat(bias[:, None], x.shape[1] * stride, axis=1)
        for g in range(groups):
            rows = slice(g * weight.shape[1], (g + 1) * weight.shape[1])
            for place in range(x.shape[1]):
                for tap in range(taps):
                    at = place * stride - padding + tap
                    if 0 <= at < out.shape[1]:
                        mine = slice(g * own, (g + 1) * own)
                        out[rows, at] += weight[mine, :, tap].T @ x[mine, place]
        drop = int(exact.shifts[i]) + (4 if i == 4 else 0)
        out = (out + (1 << (drop - 1))) >> drop
        x = np.clip(out, -(2**14), 2**14) if i == 4 else np.clip(out, 0, 2**24)
        if 0 < i < 4:
            x = x.reshape(groups, -1, x.shape[1]).transpose(1, 0, 2).reshape(x.shape)
    return x


def plain_row(static: CdfTables, c: int, corrections: np.ndarray, first: int) -> list[int]:
    """One adapted row in Python's integers."""
    count = int(static.lengths[c]) - 2
    logits = []
    for k in range(count):
        place = int(static.offsets[c]) + k - first
        own = int(corrections[c, place]) if 0 <= place < corrections.shape[1] else 0
        logits.append(int(LOG2[static.cdf[c, k + 1] - static.cdf[c, k]]) + own)
    powers = [int(EXP2[(max(logits) - v) % 256]) >> ((max(logits) - v) // 256) for v in logits]
    below = [sum(powers[:k]) for k in range(count + 1)]
    return [k + below[k] * (65535 - count) // below[-1] for k in range(count + 1)] + [65536]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("largest", [2, 2000])
def test_corrections_are_those_of_plain_integers(level, largest):
    _, exact = networks()
    q = symbols(largest=largest)
    assert np.array_equal(exact.corrections(q, level), twin(exact, q, level))


@pytest.mark.parametrize("columns", [range(1), range(31, 32), range(7, 20), range(0, 32), range(12, 13)])
def test_some_columns_are_those_of_all(columns):
    _, exact = networks()
    expected = exact.corrections(symbols(), 41)[:, columns.start : columns.stop]
    assert np.array_equal(exact.corrections(symbols(), 41, columns), expected)


def test_every_bin_that_a_live_row_has_a_symbol_in_is_corrected():
    tables = static()
    supported = StaticWindow.of(tables, BINS).supported
    rows = np.flatnonzero(live_rows(tables))
    first = min(int(tables.offsets[r]) for r in rows) + BINS // 2
    stop = max(int(tables.offsets[r] + tables.lengths[r]) - 2 for r in rows) + BINS // 2
    assert supported == range(max(0, first), min(BINS, stop))
    none = StaticWindow.of(tables, BINS)
    assert len(replace(none, live=torch.zeros_like(none.live)).supported) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_corrections_are_those_of_the_trained_network(level):
    transforms, exact = networks()
    with torch.no_grad():
        floats = transforms.synthesis(torch.from_numpy(symbols()).float()[None], level)[0]
    made = exact.corrections(symbols(), level) / 256
    # Five layers round to 2^-13 and weights to 2^-17; the grid of the result is 2^-8. The gain is rounded to 2^-9
    # octaves a level, of which there are 56 at most: 8 % there.
    near = 2**-8 + (0.08 * abs(level - 40) / 56 + 1e-3) * float(floats.abs().max())
    assert np.abs(made - floats.clamp(-64, 64).numpy()).max() < near


def static() -> CdfTables:
    return bottleneck(seed=3, spread=1.5).tables


def test_rows_are_those_of_plain_integers():
    _, exact = networks()
    tables, corrections = static(), exact.corrections(symbols(), 40)
    assert len({*tables.lengths.tolist()}) > 1
    live = np.arange(CHANNELS) != 1
    made = adapted_tables(tables, live, corrections, -BINS // 2)
    for c in range(CHANNELS):
        expected = (
            plain_row(tables, c, corrections, -BINS // 2) if live[c] else tables.cdf[c, : tables.lengths[c]].tolist()
        )
        assert made.cdf[c, : made.lengths[c]].tolist() == expected
    assert np.array_equal(made.lengths, tables.lengths)
    assert np.array_equal(made.offsets, tables.offsets)


def test_rows_under_the_largest_corrections():
    """A symbol 128 bits above all others leaves each of them its unit."""
    tables = static()
    corrections = np.full((CHANNELS, BINS), -(2**14))
    corrections[:, BINS // 2] = 2**14
    made = adapted_tables(tables, np.ones(CHANNELS, bool), corrections, -BINS // 2)
    for c in range(CHANNELS):
        assert made.cdf[c, : made.lengths[c]].tolist() == plain_row(tables, c, corrections, -BINS // 2)


def test_the_estimate_in_training_is_what_the_tables_say():
    _, exact = networks(spread=2.0)
    tables = static()
    corrections = exact.corrections(symbols(largest=2), 40)
    made = adapted_tables(tables, live_rows(tables), corrections, -BINS // 2)
    window = StaticWindow.of(tables, BINS)
    log2 = window.log2_probabilities(torch.from_numpy(corrections / 256).float()[None])[0]
    for c in range(CHANNELS):
        own = log2[c, tables.offsets[c] - window.first :][: tables.lengths[c] - 2]
        frequency = np.diff(made.cdf[c, : made.lengths[c] - 1])
        # rounding down changes a frequency by one unit, rounding logits to 2^-9 bits by .14 % twice
        np.testing.assert_allclose(65536 * np.exp2(own.double().numpy()), frequency, rtol=4e-3, atol=1.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("threads", [1, 2])
def test_tables_do_not_depend_on_threads_or_precision(dtype, threads):
    """What is stored decides, and not what the network is kept in."""
    _, exact = networks()
    expected = twin(exact, symbols(), 33)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
            assert np.array_equal(exact.to(dtype).corrections(symbols(), 33), expected)
    finally:
        torch.set_num_threads(before)


def test_a_batch_of_eight_gives_what_one_gives(monkeypatch):
    """The kernels of larger batches add up in other orders; with integers that is no difference, in any layer."""
    _, exact = networks()
    expected, plain, batches = exact.corrections(symbols(), 41), F.conv_transpose1d, []

    def among_eight(x, *rest):
        others = torch.randint(0, 2**24, (7, *x.shape[1:])).double()
        batches.append(len(others) + len(x))
        return plain(torch.cat([others[:3], x, others[3:]]), *rest)[3:4]

    monkeypatch.setattr(F, "conv_transpose1d", among_eight)
    assert np.array_equal(exact.corrections(symbols(), 41), expected)
    assert batches == [8] * 5


def test_the_integer_tables_are_the_same_on_every_machine():
    """Exact powers and logarithms are so far from halves that no library's rounding errors reach them."""
    for k, value in enumerate(EXP2.tolist()):  # value = round(v) of v^256 = 2^(30 * 256 - k)
        assert Fraction(2 * value - 1, 2) ** 256 < 2 ** (30 * 256 - k) < Fraction(2 * value + 1, 2) ** 256
    for exact, rounded in ((2.0 ** (30 - np.arange(256) / 256), EXP2), (256 * np.log2(np.arange(1, 2**16)), LOG2[1:])):
        assert (0.5 - np.abs(exact - rounded)).min() > 1e-6


def test_shapes_that_shuffle_agree_with():
    x = torch.arange(24.0).view(1, 8, 3)
    assert np.array_equal(shuffle(x, 4)[0], x[0].numpy().reshape(4, 2, 3).transpose(1, 0, 2).reshape(8, 3))


def test_networks_that_were_never_made_or_are_damaged():
    transforms, exact = networks()
    with pytest.raises(RunError, match=r"damaged or was never made; save it after update_tables"):
        ExactSynthesis(transforms).corrections(symbols(), 40)
    exact.weight_1 = torch.full_like(exact.weight_1, 2**31 - 1)
    with pytest.raises(RunError, match="damaged"):
        exact.corrections(symbols(), 40)


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "not finite"), (1e30, "beyond all bounds")])
def test_a_network_that_diverged(value, words):
    transforms, exact = networks()
    with torch.no_grad():
        transforms.h_s[2].weight[0, 0, 0] = value
    with pytest.raises(UserError, match=words):
        exact.make(transforms)
