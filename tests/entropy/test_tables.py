from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nic_lightning.entropy.tables import CdfTables, interpolate
from nic_lightning.errors import BitstreamError, RunError

TOTAL = 65536


def table_of(pmf: np.ndarray, offset: int) -> CdfTables:
    counts = 1 + np.floor(pmf / pmf.sum() * (TOTAL - 1 - len(pmf))).astype(np.int64)
    counts[np.argmax(counts)] += TOTAL - 1 - counts.sum()
    cdf = np.concatenate([[0], np.cumsum(counts), [TOTAL]]).astype(np.int32)
    return CdfTables(cdf[None], np.array([len(cdf)], np.int32), np.array([offset], np.int32))


def discretised(distribution, reach: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Integers and their probabilities under a continuous distribution, as a latent's bins have them."""
    mean = round(float(distribution.mean()))
    symbols = np.arange(mean - reach, mean + reach + 1)
    return symbols, distribution.cdf(symbols + 0.5) - distribution.cdf(symbols - 0.5)


def table_for(distribution) -> CdfTables:
    symbols, pmf = discretised(distribution)
    return table_of(pmf, int(symbols[0]))


def cross_entropy(tables: CdfTables, symbols: np.ndarray, pmf: np.ndarray) -> float:
    rows = np.zeros(symbols.size, dtype=np.int32)
    return float((pmf * tables.bits(symbols.astype(np.int32), rows)).sum())


def pmf_of(tables: CdfTables, row: int = 0) -> dict[int, float]:
    n = tables.lengths[row]
    return {int(tables.offsets[row]) + k: v / TOTAL for k, v in enumerate(np.diff(tables.cdf[row, :n])[:-1])}


def random_table(rng: np.random.Generator, rows: int) -> CdfTables:
    parts = []
    for _ in range(rows):
        size = int(rng.choice([1, 2, 5, 300]))
        pmf = rng.dirichlet(np.full(size, 10 ** rng.uniform(-2, 2))) + 1e-12
        parts.append(table_of(pmf, int(rng.integers(-200, 200))))
    parts[0] = CdfTables(np.array([[0, TOTAL]], np.int32), np.array([2], np.int32), parts[0].offsets)  # only the escape
    width = max(p.cdf.shape[1] for p in parts)
    cdf = np.concatenate([np.pad(p.cdf, ((0, 0), (0, width - p.cdf.shape[1]))) for p in parts])
    return CdfTables(cdf, np.concatenate([p.lengths for p in parts]), np.concatenate([p.offsets for p in parts]))


@pytest.mark.parametrize("t", [0.0, 1.0])
def test_the_ends_are_the_neighbours(t):
    low, high = table_for(stats.norm(0.3, 2.0)), table_for(stats.laplace(-4.2, 3.0))
    expected, result = pmf_of(high if t else low), interpolate(low, high, t)
    symbols, pmf = np.array(list(expected)), np.array(list(expected.values()))
    found = pmf_of(result)
    assert max(abs(found[s] - p) for s, p in expected.items()) < 2e-3
    assert cross_entropy(result, symbols, pmf) + (pmf * np.log2(pmf)).sum() < 4e-3  # bits a symbol lost
    assert sum(found.values()) == pytest.approx(1, abs=2 / TOTAL)


@pytest.mark.parametrize("family", [stats.norm, stats.laplace])
@pytest.mark.parametrize(
    ("low", "high"), [((0.0, 1.5), (0.0, 6.0)), ((-3.4, 2.0), (5.7, 2.0)), ((-2.2, 1.2), (4.9, 5.0))]
)
@pytest.mark.parametrize("t", [0.25, 0.5, 0.8])
def test_shift_and_scale_interpolate_to_the_distribution_in_between(family, low, high, t):
    ends = [family(*low), family(*high)]
    between = family(*((1 - t) * np.array(low) + t * np.array(high)))
    symbols, pmf = discretised(between, reach=40)
    entropy = float(-(pmf * np.log2(np.maximum(pmf, 1e-300))).sum())
    tables = [table_for(d) for d in ends]
    cost = cross_entropy(interpolate(*tables, t), symbols, pmf)
    assert cost < 1.01 * entropy
    every, first = np.arange(-80, 81), [dict(zip(*discretised(d), strict=True)) for d in ends]
    mixed = np.array([(1 - t) * first[0].get(s, 0) + t * first[1].get(s, 0) for s in every])
    mixture = cross_entropy(table_of(mixed, -80), symbols, pmf)
    assert mixture - entropy > 4 * (cost - entropy)  # a mix of probabilities is a broad sum of two peaks


def test_is_deterministic_and_always_valid():
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows = int(rng.integers(1, 5))
        low, high, t = random_table(rng, rows), random_table(rng, rows), float(rng.choice([0.0, 1.0, rng.random()]))
        first, second = interpolate(low, high, t), interpolate(low, high, t)  # the constructor checks validity
        for name in ("cdf", "lengths", "offsets"):
            assert np.array_equal(getattr(first, name), getattr(second, name))
        symbols = rng.integers(-500, 500, 40).astype(np.int32)
        index = rng.integers(0, rows, 40).astype(np.int32)
        assert np.array_equal(first.decode(first.encode(symbols, index), index), symbols)


def test_support_of_the_interpolation_lies_between_those_of_its_ends():
    low, high = table_of(np.ones(3), 0), table_of(np.ones(9), 100)
    middle = interpolate(low, high, 0.5)
    assert (int(middle.offsets[0]), int(middle.lengths[0]) - 2) in [(50, 6), (49, 8), (50, 7)]


def test_tables_of_the_greatest_width_stay_within_their_total():
    rng = np.random.default_rng(1)
    low, high = table_of(rng.random(8191), -4095), table_of(rng.random(8191), -4000)
    assert interpolate(low, high, 0.37).cdf[0].max() == TOTAL


@pytest.mark.parametrize(
    ("cdf", "lengths", "offsets"),
    [
        ([], [], []),
        ([[]], [0], [0]),
        ([[0, TOTAL]], [3], [0]),  # longer than its row
        ([[0, TOTAL]], [1], [0]),
        ([[0, TOTAL]], [-5], [0]),
        ([[0, TOTAL]], [2, 2], [0, 0]),
        ([[0, TOTAL]], [2], [0, 0]),
        ([[0, TOTAL]], [[2]], [[0]]),
        ([[1, TOTAL]], [2], [0]),
        ([[0, TOTAL - 1]], [2], [0]),
        ([[0, TOTAL + 1]], [2], [0]),
        ([[0, 5, 5, TOTAL]], [4], [0]),
        ([[0, 9, 5, TOTAL]], [4], [0]),
        ([[0, -9, 5, TOTAL]], [4], [0]),
        ([[0, 5, TOTAL, 0]], [4], [0]),
        ([[[0, TOTAL]]], [2], [0]),
        ([0, TOTAL], [2], [0]),
        ([[0, 2**31 - 1, -(2**31), TOTAL]], [4], [0]),
    ],
)
def test_damaged_tables_are_refused(cdf, lengths, offsets):
    with pytest.raises(RunError, match="tables are damaged"):
        CdfTables(*(np.array(a, dtype=np.int32) for a in (cdf, lengths, offsets)))


def test_what_stands_after_a_rows_end_does_not_matter():
    tables = CdfTables(
        np.array([[0, 7, TOTAL, 3, -1], [0, 1, 2, 3, TOTAL]], np.int32),
        np.array([3, 5], np.int32),
        np.zeros(2, np.int32),
    )
    symbols, rows = np.array([0, 2, 1, 0], np.int32), np.array([0, 1, 1, 0], np.int32)
    assert np.array_equal(tables.decode(tables.encode(symbols, rows), rows), symbols)


def test_the_search_starts_where_its_entry_cannot_lie_before():
    rng = np.random.default_rng(5)
    tables = random_table(rng, 4)
    for row in range(4):
        cdf = tables.cdf[row, : tables.lengths[row]]
        for slot in rng.integers(0, TOTAL, 300):
            entry = np.searchsorted(cdf, slot, side="right") - 1
            assert tables.jump[row, slot >> 8] <= entry


def test_bits_are_minus_log_of_the_mass_and_count_the_digits_of_escapes():
    tables = CdfTables(np.array([[0, 32768, 65535, TOTAL]], np.int32), np.array([4], np.int32), np.array([0], np.int32))
    found = tables.bits(np.array([0, 1, 2, -1, 9, 10, 2**30], np.int32), np.zeros(7, np.int32))
    expected = [1, -np.log2(32767 / TOTAL), 16 + 8, 16 + 8, 16 + 8, 16 + 12, 16 + 4 + 32]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 9])
def test_a_string_that_is_no_whole_number_of_words(length):
    tables = table_of(np.ones(4), 0)
    with pytest.raises(BitstreamError, match="multiple of 4"):
        tables.decode(b"x" * length, np.zeros(2, np.int32))
