"""Range asymmetric numeral system (rANS, Duda 2013) with 64-bit state, compiled by numba.

CompressAI's coder is given Python lists and searches the cumulative table from its start for every symbol; this one
takes arrays and jumps there through a 256-entry index. It also checks what it reads: a hostile string can end neither
in a read past its end nor in an endless escape code, and the state must come back to its start value, which a random
or cut string meets once in 2^31.

Coding order: the encoder walks backwards so that the decoder walks forwards.
Symbols outside a table's range are coded as its last entry followed by the excess in 4-bit digits.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

PRECISION = 16
"""Bits of a probability: every table sums to 2^16."""
LOWER = 1 << 31
"""The state begins here when encoding, ends here when decoding, and stays in [2^31, 2^63)."""

OK, CUT, DAMAGED = 0, 1, 2


class Writer:
    """Encodes `count` symbols, part by part, from the last part to the first."""

    def __init__(self, count: int) -> None:
        # 56 bits a symbol at most: 16, 4 for the digits' count, 36. Pages that nothing is written to take no memory.
        self._words = np.empty(2 * count + 4, dtype=np.uint32)
        self._at = np.array([LOWER, self._words.size], dtype=np.uint64)

    def write(self, symbols: np.ndarray, rows: np.ndarray, cdf: np.ndarray, lengths: np.ndarray, offsets: np.ndarray):
        """Code `symbols[i]` with table row `rows[i]`, in front of what is written already. All arrays int32."""
        encode(self._words, self._at, symbols, rows, cdf, lengths, offsets)

    def close(self) -> np.ndarray:
        """Words (uint32) in reading order; they begin with the state."""
        state, place = (int(v) for v in self._at)
        self._words[place - 1], self._words[place - 2] = state & 0xFFFFFFFF, state >> 32
        return self._words[place - 2 :]


@njit(cache=True, nogil=True)
def encode(words, at, symbols, rows, cdf, lengths, offsets):  # pragma: no cover  (compiled)
    """Write the words (uint32) of `symbols[i]` coded with table row `rows[i]` in front of those that are there.

    `at` (uint64) holds the state and the place of the first word; both are moved on.
    """
    state = uint64(at[0])
    place = np.int64(at[1])
    for i in range(symbols.size - 1, -1, -1):
        row = rows[i]
        escape = lengths[row] - 2
        value = np.int64(symbols[i]) - offsets[row]
        if value < 0 or value >= escape:
            excess = uint64(2 * (value - escape)) if value >= escape else uint64(-2 * value - 1)
            digits = 1
            while digits < 9 and (excess >> uint64(4 * digits)) != 0:
                digits += 1
            for d in range(digits):  # least significant first: read back most significant first
                if state >= uint64(1) << uint64(59):
                    place -= 1
                    words[place] = np.uint32(state & uint64(0xFFFFFFFF))
                    state >>= uint64(32)
                state = (state << uint64(4)) | ((excess >> uint64(4 * d)) & uint64(15))
            if state >= uint64(1) << uint64(59):
                place -= 1
                words[place] = np.uint32(state & uint64(0xFFFFFFFF))
                state >>= uint64(32)
            state = (state << uint64(4)) | uint64(digits)
            value = escape
        start = uint64(cdf[row, value])
        freq = uint64(cdf[row, value + 1]) - start
        if state >= freq << uint64(47):
            place -= 1
            words[place] = np.uint32(state & uint64(0xFFFFFFFF))
            state >>= uint64(32)
        state = ((state // freq) << uint64(PRECISION)) + state % freq + start
    at[0] = state
    at[1] = uint64(place)


@njit(cache=True, nogil=True)
def decode(words, at, rows, cdf, lengths, offsets, jump, out):  # pragma: no cover  (compiled)
    """Fill `out` (int32) with the next symbols of `words`; returns OK, CUT (ended early) or DAMAGED.

    `at` (uint64) holds the state and the next word's place; both are moved on.
    """
    state = uint64(at[0])
    place = np.int64(at[1])
    for i in range(rows.size):
        row = rows[i]
        slot = np.int32(state & uint64(0xFFFF))
        value = np.int32(jump[row, slot >> 8])
        while cdf[row, value + 1] <= slot:
            value += 1
        start = uint64(cdf[row, value])
        freq = uint64(cdf[row, value + 1]) - start
        state = freq * (state >> uint64(PRECISION)) + uint64(slot) - start
        if state < uint64(LOWER):
            if place >= words.size:
                return CUT
            state = (state << uint64(32)) | uint64(words[place])
            place += 1
        symbol = np.int64(value)
        escape = lengths[row] - 2
        if value == escape:
            digits = np.int64(state & uint64(15))
            state >>= uint64(4)
            if state < uint64(LOWER):
                if place >= words.size:
                    return CUT
                state = (state << uint64(32)) | uint64(words[place])
                place += 1
            if digits < 1 or digits > 9:
                return DAMAGED
            excess = uint64(0)
            for _ in range(digits):
                excess = (excess << uint64(4)) | (state & uint64(15))
                state >>= uint64(4)
                if state < uint64(LOWER):
                    if place >= words.size:
                        return CUT
                    state = (state << uint64(32)) | uint64(words[place])
                    place += 1
            half = np.int64(excess >> uint64(1))
            symbol = -half - 1 if excess & uint64(1) else escape + half
        symbol += offsets[row]
        if symbol < -(1 << 31) or symbol >= 1 << 31:
            return DAMAGED
        out[i] = np.int32(symbol)
    at[0] = state
    at[1] = uint64(place)
    return OK


@njit(cache=True, nogil=True)
def jumps(cdf, lengths):  # pragma: no cover  (compiled)
    """For each row and each 256th part of the mass, the last entry that is not above it (R, 256), uint16."""
    found = np.empty((len(lengths), 256), np.uint16)
    for r in range(len(lengths)):
        k = 0
        for part in range(256):
            while k + 1 < lengths[r] and cdf[r, k + 1] <= part << (PRECISION - 8):
                k += 1
            found[r, part] = k
    return found
