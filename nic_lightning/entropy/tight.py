"""Bit-precise arithmetic coder (Witten, Neal and Cleary 1987) for strings of a few bytes, compiled by numba.

The coder of images, rANS, spends 64 bits on its state, which is more than a whole point cloud takes. This one works
with 32-bit bounds and tables of 16 bits, and ends a string in one of two ways:

    prefix   whatever bits follow, the string decodes to the same: strings follow each other bit by bit, without lengths
    zeros    the decoder reads zeros behind the end, and trailing zeros are dropped: the container tells the length

A prefix end costs about one bit over the ideal length and less than two. Strings that `encode` did not write are
refused by encoding what they decode to once more. Symbols outside a table are its last entry, followed by their excess
in 4-bit digits, as in `entropy/rans.py`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import BitstreamError

_BITS = 56
"""Of one symbol at most: 16 of the table, 4 of the number of digits, 36 of the digits."""
_HALF, _QUARTER, _TOP = 1 << 31, 1 << 30, (1 << 32) - 1
_DAMAGED, _CUT = -1, -2
_LOW, _HIGH, _PENDING, _PLACE, _VALUE = range(5)
"""What a coder's state (int64) holds: both bounds, bits that wait for the next one, place among the bits, window."""


def encode(tables: CdfTables, symbols: np.ndarray, rows: np.ndarray, prefix: bool) -> np.ndarray:
    """Bits (uint8, 0 or 1) of `symbols[i]` coded with table row `rows[i]` (both int32, flat), with either end."""
    out = np.empty(_BITS * symbols.size + 64, np.uint8)
    count = _encode(symbols, rows, tables.cdf, tables.lengths, tables.offsets, out, prefix)
    return out[:count]


def to_string(bits: np.ndarray) -> bytes:
    """Whole bytes of bits, the highest bit of a byte first; what is missing of the last byte is 0."""
    return np.packbits(bits).tobytes()


def encode_string(tables: CdfTables, symbols: np.ndarray, rows: np.ndarray) -> bytes:
    """String with the end of zeros; it never ends in a zero byte and may be empty."""
    return to_string(encode(tables, symbols, rows, prefix=False))


def decode_string(tables: CdfTables, string: bytes, rows: np.ndarray) -> np.ndarray:
    """Inverse of `encode_string`, int32; raises BitstreamError for a string that it did not write."""
    if len(string) > (_BITS * rows.size + 64) // 8:
        raise BitstreamError(
            f"The entropy-coded string of {rows.size} symbols has {len(string):,} bytes: it is altered."
        )
    symbols = np.empty(rows.size, np.int32)
    bits = np.unpackbits(np.frombuffer(string, np.uint8))
    place = _decode(bits, 0, rows, tables.cdf, tables.lengths, tables.offsets, tables.jump, symbols)
    if place < 0 or encode_string(tables, symbols, rows) != string:
        raise BitstreamError("The entropy-coded string is none that this codec writes: the file is cut or altered.")
    return symbols


class TightReader:
    """Decodes strings with prefix ends that follow each other bit by bit.

    `cut` tells that the bits ended within a string; then `read` gives None.
    """

    def __init__(self, tables: CdfTables, body: bytes):
        self._tables, self._bits, self._place = tables, np.unpackbits(np.frombuffer(body, np.uint8)), 0
        self.cut = False

    def read(self, rows: np.ndarray) -> np.ndarray | None:
        """Symbols (int32) of the next string, None where it is cut; BitstreamError for what `encode` never writes."""
        t, symbols, start = self._tables, np.empty(rows.size, np.int32), self._place
        end = _decode(self._bits, start, rows, t.cdf, t.lengths, t.offsets, t.jump, symbols)
        if end >= 0 and np.array_equal(encode(t, symbols, rows, prefix=True), self._bits[start:end]):
            self._place = end
            return symbols
        if end == _CUT or end + 32 > self._bits.size:  # zeros behind the end were read, which may be none in the string
            self.cut = True
            return None
        raise BitstreamError("A string of the stream is none that this codec writes: the stream is altered.")

    def close(self) -> None:
        """Raise BitstreamError unless nothing but the zeros that fill up the last byte is left."""
        rest = self._bits[self._place :]
        if rest.size >= 8 or rest.any():
            raise BitstreamError("Bits follow the last string of a block: the stream is altered.")


@njit(cache=True, nogil=True)
def _encode(symbols, rows, cdf, lengths, offsets, out, prefix):  # pragma: no cover  (compiled)
    """Write the bits (uint8) of a whole string; returns how many they are."""
    state = np.array([0, _TOP, 0, 0, 0], np.int64)
    for i in range(symbols.size):
        row = rows[i]
        escape = lengths[row] - 2
        value = np.int64(symbols[i]) - offsets[row]
        if 0 <= value < escape:
            _put(state, out, cdf[row, value], cdf[row, value + 1])
            continue
        excess = 2 * (value - escape) if value >= escape else -2 * value - 1
        _put(state, out, cdf[row, escape], cdf[row, escape + 1])
        digits = 1
        while digits < 9 and excess >> (4 * digits) != 0:
            digits += 1
        _put(state, out, digits << 12, (digits + 1) << 12)
        for d in range(digits - 1, -1, -1):
            digit = (excess >> (4 * d)) & 15
            _put(state, out, digit << 12, (digit + 1) << 12)
    return _end(state, out, prefix)


@njit(cache=True, nogil=True)
def _put(state, out, below, above):  # pragma: no cover  (compiled)
    """Narrow the interval to a symbol's part of the mass, and write the bits that are certain by it."""
    low, high = state[_LOW], state[_HIGH]
    span = high - low + 1
    high = low + ((span * above) >> 16) - 1
    low = low + ((span * below) >> 16)
    while True:
        if high < _HALF:
            _write(state, out, 0)
        elif low >= _HALF:
            _write(state, out, 1)
            low, high = low - _HALF, high - _HALF
        elif low >= _QUARTER and high < _HALF + _QUARTER:  # the next bits are 01... or 10...: not known yet
            state[_PENDING] += 1
            low, high = low - _QUARTER, high - _QUARTER
        else:
            break
        low, high = 2 * low, 2 * high + 1
    state[_LOW], state[_HIGH] = low, high


@njit(cache=True, nogil=True)
def _write(state, out, bit):  # pragma: no cover  (compiled)
    """One bit and those that waited for it, which are its opposite."""
    place = state[_PLACE]
    out[place] = bit
    place += 1
    for _ in range(state[_PENDING]):
        out[place] = 1 - bit
        place += 1
    state[_PENDING], state[_PLACE] = 0, place


@njit(cache=True, nogil=True)
def _end(state, out, prefix):  # pragma: no cover  (compiled)
    """Write the shortest end that lies in the interval; returns the number of bits of the string."""
    k = _end_bits(state, prefix)
    if k > 0:
        step = np.int64(1) << (32 - k)
        first = (state[_LOW] + step - 1) // step
        for b in range(k - 1, -1, -1):
            _write(state, out, (first >> b) & 1)
    count = state[_PLACE]
    while not prefix and count > 0 and out[count - 1] == 0:
        count -= 1
    return count


@njit(cache=True, nogil=True)
def _end_bits(state, prefix):  # pragma: no cover  (compiled)
    """Bits of the shortest end; at least one where bits wait for the next, which are decided by it."""
    for k in range(1 if state[_PENDING] else 0, 33):
        step = np.int64(1) << (32 - k)
        first = (state[_LOW] + step - 1) // step * step
        if first <= state[_HIGH] and (not prefix or first + step - 1 <= state[_HIGH]):
            return k
    return 32  # one number is in every interval


@njit(cache=True, nogil=True)
def _decode(bits, start, rows, cdf, lengths, offsets, jump, symbols):  # pragma: no cover  (compiled)
    """Fill `symbols` (int32) from the bits behind `start`; returns where a string with a prefix end is over.

    Zeros are read behind the last bit. What makes no symbol is _CUT where these may be the reason, else _DAMAGED.
    """
    state = np.array([0, _TOP, 0, start, 0], np.int64)
    for _ in range(32):
        _shift(state, bits)
    for i in range(rows.size):
        row = rows[i]
        target = _target(state)
        value = np.int64(jump[row, target >> 8])
        while cdf[row, value + 1] <= target:
            value += 1
        _take(state, bits, cdf[row, value], cdf[row, value + 1])
        symbol, escape = value, lengths[row] - 2
        if value == escape:
            digits = _digit(state, bits)
            if digits < 1 or digits > 9:
                return _DAMAGED if state[_PLACE] <= bits.size else _CUT
            excess = np.int64(0)
            for _ in range(digits):
                excess = (excess << 4) | _digit(state, bits)
            half = excess >> 1
            symbol = -half - 1 if excess & 1 else escape + half
        symbol += offsets[row]
        if symbol < -(1 << 31) or symbol >= 1 << 31:
            return _DAMAGED if state[_PLACE] <= bits.size else _CUT
        symbols[i] = symbol
    return state[_PLACE] - 32 + _end_bits(state, True)


@njit(cache=True, nogil=True)
def _target(state):  # pragma: no cover  (compiled)
    """Where in the mass of 2^16 the window lies."""
    span = state[_HIGH] - state[_LOW] + 1
    return ((state[_VALUE] - state[_LOW] + 1) * 65536 - 1) // span


@njit(cache=True, nogil=True)
def _digit(state, bits):  # pragma: no cover  (compiled)
    digit = _target(state) >> 12
    _take(state, bits, digit << 12, (digit + 1) << 12)
    return digit


@njit(cache=True, nogil=True)
def _take(state, bits, below, above):  # pragma: no cover  (compiled)
    """What `_put` does, on the reading side."""
    span = state[_HIGH] - state[_LOW] + 1
    state[_HIGH] = state[_LOW] + ((span * above) >> 16) - 1
    state[_LOW] = state[_LOW] + ((span * below) >> 16)
    while True:
        if state[_HIGH] < _HALF:
            off, pending = 0, 0
        elif state[_LOW] >= _HALF:
            off, pending = _HALF, 0
        elif state[_LOW] >= _QUARTER and state[_HIGH] < _HALF + _QUARTER:
            off, pending = _QUARTER, state[_PENDING] + 1
        else:
            break
        state[_LOW], state[_HIGH] = 2 * (state[_LOW] - off), 2 * (state[_HIGH] - off) + 1
        state[_VALUE], state[_PENDING] = state[_VALUE] - off, pending
        _shift(state, bits)


@njit(cache=True, nogil=True)
def _shift(state, bits):  # pragma: no cover  (compiled)
    """Move the window on by one bit."""
    place = state[_PLACE]
    state[_VALUE] = 2 * state[_VALUE] + (bits[place] if place < bits.size else 0)
    state[_PLACE] = place + 1
