from __future__ import annotations

import itertools

import numpy as np
import pytest

from nic_lightning.entropy.tables import CdfTables, StringReader
from nic_lightning.errors import BitstreamError


def random_tables(rng: np.random.Generator, rows: int, most: int = 60, offset: int = 40) -> CdfTables:
    """Tables of 1 to `most` symbols, from flat to nearly certain."""
    lengths = rng.integers(2, most + 2, rows).astype(np.int32)
    cdf = np.zeros((rows, most + 2), dtype=np.int32)
    for r, n in enumerate(lengths):
        pmf = rng.dirichlet(np.full(n - 1, 10 ** rng.uniform(-2, 2)))
        counts = 1 + np.floor(pmf * (65536 - (n - 1))).astype(np.int64)
        counts[np.argmax(counts)] += 65536 - counts.sum()
        cdf[r, 1:n] = np.cumsum(counts)
    return CdfTables(cdf, lengths, rng.integers(-offset, offset + 1, rows).astype(np.int32))


def draw(rng: np.random.Generator, tables: CdfTables, rows: np.ndarray, escapes: float = 0.0) -> np.ndarray:
    """Symbols distributed as the tables say; a share of them replaced by values up to +-2^30."""
    slots = rng.integers(0, 65536, rows.size)
    symbols = np.array(
        [
            np.searchsorted(tables.cdf[r, : tables.lengths[r]], s, side="right") - 1
            for r, s in zip(rows, slots, strict=True)
        ],
        dtype=np.int64,
    )
    symbols = np.minimum(symbols, np.maximum(tables.lengths[rows] - 3, 0)) + tables.offsets[rows]
    far = rng.random(rows.size) < escapes
    magnitudes = np.floor(2 ** rng.uniform(0, 30, rows.size)).astype(np.int64) * rng.choice([-1, 1], rows.size)
    return np.where(far, magnitudes, symbols).astype(np.int32)


def test_round_trip_of_random_symbols_with_random_tables():
    rng = np.random.default_rng(0)
    for _ in range(150):
        tables = random_tables(rng, int(rng.integers(1, 9)))
        rows = rng.integers(0, len(tables.lengths), int(rng.integers(0, 400))).astype(np.int32)
        symbols = draw(rng, tables, rows, escapes=float(rng.choice([0.0, 0.05, 1.0])))
        string = tables.encode(symbols, rows)
        assert np.array_equal(tables.decode(string, rows), symbols)


@pytest.mark.parametrize("offset", [0, -(2**31), 2**31 - 1, -4096, 4096])
def test_extreme_symbols(offset):
    tables = CdfTables(np.array([[0, 1, 65536]], np.int32), np.array([3], np.int32), np.array([offset], np.int32))
    symbols = np.array([0, 1, -1, 2**30, -(2**30), 2**31 - 1, -(2**31), 15, 16, -8, 4095], dtype=np.int32)
    rows = np.zeros(symbols.size, dtype=np.int32)
    assert np.array_equal(tables.decode(tables.encode(symbols, rows), rows), symbols)


def test_a_table_with_nothing_but_the_escape():
    tables = CdfTables(np.array([[0, 65536]], np.int32), np.array([2], np.int32), np.array([3], np.int32))
    symbols = np.array([3, -100, 7, 2**30], dtype=np.int32)
    rows = np.zeros(4, dtype=np.int32)
    assert np.array_equal(tables.decode(tables.encode(symbols, rows), rows), symbols)


def test_the_widest_possible_table():
    cdf = np.arange(65537, dtype=np.int32)[None]
    tables = CdfTables(cdf, np.array([65537], np.int32), np.array([-30000], np.int32))
    symbols = np.arange(-30010, 35600, 97, dtype=np.int32)
    rows = np.zeros(symbols.size, dtype=np.int32)
    assert np.array_equal(tables.decode(tables.encode(symbols, rows), rows), symbols)


def test_no_symbols_take_eight_bytes():
    tables, none = random_tables(np.random.default_rng(0), 1), np.empty(0, dtype=np.int32)
    assert len(tables.encode(none, none)) == 8
    assert tables.decode(tables.encode(none, none), none).size == 0
    for wrong in (b"", b"\0" * 4, b"\0" * 8, b"\xff" * 8, tables.encode(none, none) + b"\0" * 4):
        with pytest.raises(BitstreamError):
            tables.decode(wrong, none)


def test_coding_costs_what_the_probabilities_say():
    rng = np.random.default_rng(1)
    tables = random_tables(rng, 16, most=30)
    rows = rng.integers(0, 16, 60_000).astype(np.int32)
    symbols = draw(rng, tables, rows, escapes=0.001)
    ideal = tables.bits(symbols, rows).sum() / 8
    actual = len(tables.encode(symbols, rows))
    assert ideal - 8 <= actual <= 1.001 * ideal + 8


def test_certain_symbols_cost_next_to_nothing():
    tables = CdfTables(np.array([[0, 65535, 65536]], np.int32), np.array([3], np.int32), np.array([0], np.int32))
    rows = np.zeros(10_000, dtype=np.int32)
    assert len(tables.encode(np.zeros(10_000, np.int32), rows)) <= 12


def decodes_or_refuses(tables: CdfTables, string: bytes, rows: np.ndarray) -> bool:
    """True when refused; anything but BitstreamError, or another count than declared, fails the test."""
    try:
        assert tables.decode(string, rows).size == rows.size
    except BitstreamError:
        return True
    return False


def test_every_truncation_and_extension_is_refused():
    rng = np.random.default_rng(2)
    tables = random_tables(rng, 4)
    rows = rng.integers(0, 4, 300).astype(np.int32)
    string = tables.encode(draw(rng, tables, rows, escapes=0.1), rows)
    for cut in range(len(string)):
        assert decodes_or_refuses(tables, string[:cut], rows)
    for extra in (b"\0", b"\0" * 4, b"\xff" * 8, string):
        assert decodes_or_refuses(tables, string + extra, rows)
    assert decodes_or_refuses(tables, string, rows[:-1])
    assert decodes_or_refuses(tables, string, np.append(rows, rows))


def test_thousands_of_damaged_strings_never_crash():
    rng = np.random.default_rng(3)
    refused = 0
    for case in range(60):
        tables = random_tables(rng, 5, most=int(rng.choice([1, 3, 60])))
        rows = rng.integers(0, 5, int(rng.integers(1, 200))).astype(np.int32)
        string = bytearray(tables.encode(draw(rng, tables, rows, escapes=float(case % 3 == 0)), rows))
        for _ in range(100):
            damaged = bytearray(string)
            for _ in range(int(rng.integers(1, 4))):
                damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
            refused += decodes_or_refuses(tables, bytes(damaged), rows)
    # A flip that swaps two symbols of equal mass, or changes an escape's digits, is the file's CRC to notice.
    assert refused > 3000


def test_thousands_of_random_strings_never_crash():
    rng = np.random.default_rng(4)
    for _ in range(40):
        tables = random_tables(rng, 3, most=int(rng.choice([1, 2, 40])))
        for _ in range(100):
            rows = rng.integers(0, 3, int(rng.integers(0, 100))).astype(np.int32)
            assert decodes_or_refuses(tables, rng.bytes(int(rng.integers(0, 120))), rows)


def test_a_string_of_escapes_ends():
    # All digits set: as many digits as can be asked for, again and again.
    tables = CdfTables(np.array([[0, 65536]], np.int32), np.array([2], np.int32), np.array([0], np.int32))
    rows = np.zeros(1000, dtype=np.int32)
    for byte in range(256):
        assert decodes_or_refuses(tables, b"\x7f" + bytes([byte]) * 20_003, rows)


def test_a_string_is_read_part_by_part():
    rng = np.random.default_rng(3)
    tables = random_tables(rng, 6)
    rows = rng.integers(0, 6, 500).astype(np.int32)
    symbols = draw(rng, tables, rows, escapes=0.1)
    string = tables.encode(symbols, rows)
    cuts = [0, 0, 1, 2, 77, 78, 499, 500, 500]
    reader = StringReader(tables, string)
    for first, last in itertools.pairwise(cuts):
        assert np.array_equal(reader.read(rows[first:last]), symbols[first:last])
    reader.close()
    early = StringReader(tables, string)
    early.read(rows[:499])
    with pytest.raises(BitstreamError, match="does not end where it should"):
        early.close()
    short = StringReader(tables, string[:-4])
    with pytest.raises(BitstreamError, match="ends before its last symbol"):
        short.read(rows)
    for wrong in (b"", string[:4], b"\0" * 8, b"\xff" * 8):
        with pytest.raises(BitstreamError):
            StringReader(tables, wrong)
