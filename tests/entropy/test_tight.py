"""The arithmetic coder of short strings, against a plain twin, against ideal lengths, and under damage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nic_lightning.entropy import tight
from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import BitstreamError
from tests.entropy.test_rans import draw, random_tables

HALF, QUARTER = 2**31, 2**30


def plain_encode(tables: CdfTables, symbols: np.ndarray, rows: np.ndarray, prefix: bool) -> str:
    """The specification: intervals of symbols first, then Witten, Neal and Cleary's coder on a string of bits."""
    low, high, pending, out = 0, 2**32 - 1, 0, ""
    for below, above in intervals(tables, symbols, rows):
        span = high - low + 1
        low, high = low + (span * below >> 16), low + (span * above >> 16) - 1
        while True:
            if high < HALF or low >= HALF:
                bit = int(low >= HALF)
                out, pending = out + str(bit) + str(1 - bit) * pending, 0
                low, high = low - bit * HALF, high - bit * HALF
            elif low >= QUARTER and high < HALF + QUARTER:
                pending, low, high = pending + 1, low - QUARTER, high - QUARTER
            else:
                break
            low, high = 2 * low, 2 * high + 1
    ends = (f"{number:0{k}b}" if k else "" for k in range(33) for number in range(2**k))
    for end in ends:
        first = int(end.ljust(32, "0"), 2)
        last = int(end.ljust(32, "1"), 2) if prefix else first
        if low <= first and last <= high and (end or not pending):
            break
    end = end[:1] + ("0" if end[:1] == "1" else "1") * pending + end[1:]
    return out + end if prefix else (out + end).rstrip("0")


def intervals(tables: CdfTables, symbols: np.ndarray, rows: np.ndarray) -> list[tuple[int, int]]:
    """What each symbol takes of a mass of 2^16: its entry, or the escape and the digits behind it."""
    found = []
    for symbol, row in zip(symbols.tolist(), rows.tolist(), strict=True):
        cdf, escape = tables.cdf[row].tolist(), int(tables.lengths[row]) - 2
        value = symbol - int(tables.offsets[row])
        entry = value if 0 <= value < escape else escape
        found.append((cdf[entry], cdf[entry + 1]))
        if entry == escape:
            excess = 2 * (value - escape) if value >= 0 else -2 * value - 1
            digits = f"{excess:x}"
            found += [(d << 12, (d + 1) << 12) for d in (len(digits), *(int(digit, 16) for digit in digits))]
    return found


def cases(count: int, most: int = 40, seed: int = 0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        tables = random_tables(rng, int(rng.integers(1, 9)))
        rows = rng.integers(0, len(tables.lengths), int(rng.integers(0, most))).astype(np.int32)
        yield tables, draw(rng, tables, rows, escapes=float(rng.choice([0.0, 0.05, 1.0]))), rows


def as_text(bits: np.ndarray) -> str:
    return "".join(map(str, bits))


@pytest.mark.parametrize("prefix", [True, False])
def test_it_writes_the_bits_of_its_plain_twin(prefix):
    for tables, symbols, rows in cases(100):
        assert as_text(tight.encode(tables, symbols, rows, prefix)) == plain_encode(tables, symbols, rows, prefix)


def test_a_prefix_end_costs_a_bit_and_less_than_two():
    over = []
    for tables, symbols, rows in cases(1500):
        over.append(len(tight.encode(tables, symbols, rows, prefix=True)) - tables.bits(symbols, rows).sum())
    # Rounding of intervals of 2^30 and more to units costs 2^-14 bits a symbol at most.
    assert np.mean(over) <= 1.5
    assert max(over) <= 2 + 40 * 13 * 2**-14


def test_no_string_with_a_prefix_end_begins_another():
    """All messages of three symbols; so Kraft's sum is at most 1, and zeros ends are different strings."""
    tables = CdfTables(
        np.array([[0, 1, 30000, 65535, 65536]], np.int32), np.array([5], np.int32), np.zeros(1, np.int32)
    )
    rows = np.zeros(3, np.int32)
    messages = [np.array(m, np.int32) for m in itertools.product((0, 1, 2, 3, -1), repeat=3)]
    words = [as_text(tight.encode(tables, message, rows, prefix=True)) for message in messages]
    assert sum(2.0 ** -len(word) for word in words) <= 1
    for one, other in itertools.permutations(words, 2):
        assert not other.startswith(one)
    assert len({tight.encode_string(tables, message, rows) for message in messages}) == len(messages)


def test_strings_follow_each_other_bit_by_bit():
    """Half the mass in the middle makes bits wait at the very end, which is easily lost."""
    quarter = CdfTables(
        np.array([[0, 16384, 49152, 65535, 65536]], np.int32), np.array([5], np.int32), np.zeros(1, np.int32)
    )
    rng = np.random.default_rng(1)
    for tables in (quarter, *(case[0] for case in cases(20))):
        rows = rng.integers(0, len(tables.lengths), 16).astype(np.int32)
        clouds = [draw(rng, tables, rows, 0.02) for _ in range(50)]
        body = tight.to_string(np.concatenate([tight.encode(tables, cloud, rows, prefix=True) for cloud in clouds]))
        reader = tight.TightReader(tables, body)
        for cloud in clouds:
            assert np.array_equal(reader.read(rows), cloud)
        reader.close()
        short = tight.TightReader(tables, body[: len(body) // 2])
        whole = list(itertools.takewhile(lambda found: found is not None, (short.read(rows) for _ in clouds)))
        assert short.cut
        assert all(np.array_equal(found, cloud) for found, cloud in zip(whole, clouds, strict=False))


def test_a_string_of_its_own_comes_back_and_ends_in_no_zero_byte():
    for tables, symbols, rows in cases(500):
        string = tight.encode_string(tables, symbols, rows)
        assert np.array_equal(tight.decode_string(tables, string, rows), symbols)
        assert string[-1:] != b"\0"


def test_hostile_strings_are_refused_or_canonical():
    rng = np.random.default_rng(2)
    refused = 0
    for tables, symbols, rows in cases(300):
        string = tight.encode_string(tables, symbols, rows)
        for hostile in (string + b"\0", string + b"\1", rng.bytes(len(string)), string[:-1] + b"\x81", bytes(9999)):
            try:
                found = tight.decode_string(tables, hostile, rows)
            except BitstreamError:
                refused += 1
            else:
                assert tight.encode_string(tables, found, rows) == hostile
    assert refused > 900  # of 1,500: appended bytes and too long ones always, others by chance


def test_bits_behind_the_last_string_are_refused():
    ((tables, symbols, rows),) = cases(1, seed=5)
    bits = tight.encode(tables, symbols, rows, prefix=True)
    for body in (tight.to_string(bits) + b"\0", tight.to_string(np.concatenate([bits, np.ones(8, np.uint8)]))):
        reader = tight.TightReader(tables, body)
        assert np.array_equal(reader.read(rows), symbols)
        with pytest.raises(BitstreamError, match="Bits follow the last string"):
            reader.close()
