"""Cumulative tables of integer symbols: what the encoder and the decoder have to agree on, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nic_lightning.entropy import rans
from nic_lightning.errors import BitstreamError, RunError

_TOTAL = 1 << rans.PRECISION


@dataclass(frozen=True, eq=False)
class CdfTables:
    """One cumulative table a row.

    `cdf[r, :lengths[r]]` (int32) rises strictly from 0 to 2^16; entry k is the mass below symbol `offsets[r] + k`; the
    last interval is the escape for symbols outside the table.
    """

    cdf: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        """Refuse tables that would send the compiled coder outside its arrays (they may come from a foreign file)."""
        cdf, lengths = self.cdf, self.lengths
        fits = cdf.ndim == 2 and lengths.shape == self.offsets.shape == (cdf.shape[0],) and cdf.shape[0] > 0
        fits = fits and int(lengths.min()) >= 2 and int(lengths.max()) <= cdf.shape[1]
        if fits:
            inside = np.arange(1, cdf.shape[1])[None, :] < lengths[:, None]
            last = np.take_along_axis(cdf, lengths[:, None].astype(np.int64) - 1, 1)
            fits = bool((cdf[:, 0] == 0).all() and (last == _TOTAL).all() and (np.diff(cdf, axis=1) > 0)[inside].all())
        if not fits:
            raise RunError("The checkpoint's CDF tables are damaged or were never made; save it after update_tables().")

    def some(self, rows: slice) -> CdfTables:
        """The tables of some rows."""
        return CdfTables(self.cdf[rows], self.lengths[rows], self.offsets[rows])

    @cached_property
    def jump(self) -> np.ndarray:
        """For each row and each 256th part of the mass, the entry where the search starts (uint16)."""
        return rans.jumps(self.cdf, self.lengths)

    def encode(self, symbols: np.ndarray, rows: np.ndarray) -> bytes:
        """String of `symbols[i]` coded with table row `rows[i]` (both int32, flat)."""
        return self.encode_backwards(symbols.size, [(symbols, rows)])

    def encode_backwards(self, count: int, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> bytes:
        """The string of `encode` of `count` symbols, whose symbols and rows come in parts, the last part first."""
        return encode_backwards(count, ((self, symbols, rows) for symbols, rows in parts))

    def decode(self, string: bytes, rows: np.ndarray) -> np.ndarray:
        """Inverse of `encode`, int32; raises `BitstreamError` for a string that `encode` did not write."""
        reader = StringReader(self, string)
        symbols = reader.read(rows)
        reader.close()
        return symbols

    def bits(self, symbols: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Ideal code length of each symbol in bits (float64), escapes charged with their digits."""
        value = symbols.astype(np.int64) - self.offsets[rows]
        escape = self.lengths[rows] - 2
        outside = (value < 0) | (value >= escape)
        excess = np.where(value < 0, -2 * value - 1, 2 * (value - escape))
        digits = np.maximum(1, np.ceil(np.log2(np.maximum(excess, 1) + 1) / 4))
        entry = np.where(outside, escape, value)
        mass = self.cdf[rows, entry + 1] - self.cdf[rows, entry]
        return -np.log2(mass / _TOTAL) + np.where(outside, 4 + 4 * digits, 0)


def encode_backwards(count: int, parts: Iterable[tuple[CdfTables, np.ndarray, np.ndarray]]) -> bytes:
    """One string of at most `count` symbols; tables, symbols and rows (int32, flat) come in parts, the last first."""
    writer = rans.Writer(count)
    for tables, symbols, rows in parts:
        writer.write(symbols, rows, tables.cdf, tables.lengths, tables.offsets)
    return writer.close().astype("<u4").tobytes()


class StringReader:
    """Decodes a string part by part, where the table of a symbol depends on symbols before it.

    Parts may have tables of their own; `tables` are those of the others.

    Raises `BitstreamError` as soon as the string turns out not to be one that `CdfTables.encode` wrote.
    """

    def __init__(self, tables: CdfTables, string: bytes):
        if len(string) % 4:
            raise BitstreamError("The entropy-coded string is cut: its length is not a multiple of 4 bytes.")
        self._tables, self._words = tables, np.frombuffer(string, dtype="<u4").astype(np.uint32)
        if self._words.size < 2:
            raise BitstreamError("The entropy-coded string ends before its first symbol: the file is cut or altered.")
        self._at = np.array([int(self._words[0]) << 32 | int(self._words[1]), 2], dtype=np.uint64)
        if not rans.LOWER <= int(self._at[0]) < 1 << 63:
            raise BitstreamError("The entropy-coded string begins with an impossible state: the file is altered.")

    def read(self, rows: np.ndarray, tables: CdfTables | None = None) -> np.ndarray:
        """The next symbols (int32), `symbols[i]` by table row `rows[i]` (int32, flat)."""
        t, symbols = self._tables if tables is None else tables, np.empty(rows.size, dtype=np.int32)
        status = rans.decode(self._words, self._at, rows, t.cdf, t.lengths, t.offsets, t.jump, symbols)
        if status == rans.CUT:
            raise BitstreamError("The entropy-coded string ends before its last symbol: the file is cut or altered.")
        if status != rans.OK:
            raise BitstreamError("The entropy-coded string holds an impossible symbol: the file is altered.")
        return symbols

    def close(self) -> None:
        """Check that the string ends here."""
        if int(self._at[1]) != self._words.size or int(self._at[0]) != rans.LOWER:
            raise BitstreamError("The entropy-coded string does not end where it should: the file is altered.")


def to_cdf(pmf: np.ndarray) -> np.ndarray:
    """Cumulative integers, int32, from 0 to 2^16, of probabilities in float32; every symbol keeps at least one unit.

    The integers are those of CompressAI's `pmf_to_quantized_cdf`, bit for bit. Rounded shares are scaled to a sum of
    2^16; what is missing goes to the last symbol. Symbols without a unit get theirs from those that have the fewest
    above one, the first of them first, each of which gives all it can spare.

    Raises RunError for probabilities that are negative, not finite, all 0, or more than 2^16.
    """
    pmf = np.asarray(pmf, dtype=np.float32)
    if not (np.isfinite(pmf).all() and (pmf >= 0).all()):
        raise RunError("An entropy model gives a probability that is negative or not finite: training diverged.")
    shares = np.floor(pmf.astype(np.float64) * _TOTAL + 0.5).astype(np.int64)
    if not shares.sum() > 0 or len(pmf) > _TOTAL:
        raise RunError(f"An entropy model's {len(pmf)} probabilities make no table of {_TOTAL} units.")
    counts = shares * _TOTAL // shares.sum()
    counts[-1] += _TOTAL - counts.sum()
    donors = np.flatnonzero(counts > 1)
    donors = donors[np.argsort(counts[donors], kind="stable")]
    spare = counts[donors] - 1
    before = np.cumsum(spare) - spare
    counts[donors] -= np.clip((counts == 0).sum() - before, 0, spare)
    counts[counts == 0] = 1
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def interpolate(low: CdfTables, high: CdfTables, t: float) -> CdfTables:
    """Tables between two codecs' tables, by displacement interpolation: row by row, mix the quantile functions.

    For 0 <= t <= 1 the quantile function of the result is (1 - t) Q_low + t Q_high. Where the latents of neighbouring
    rate-distortion trade-offs differ by shift and scale, which is what modulation mostly does to them, the mix is the
    exact distribution in between; a mix of probabilities would be a broad sum of two peaks instead.

    Only float64 sums, products and quotients of stored integers are used, and results are snapped to a grid far coarser
    than their rounding errors before they become integers, so that every machine derives the same tables; if one did
    not, the coder's closing check would refuse the file.
    """
    rows = [_interpolate_row(low, high, r, t) for r in range(len(low.lengths))]
    width = max(len(cdf) for cdf, _ in rows)
    cdf = np.zeros((len(rows), width), dtype=np.int32)
    for r, (row, _) in enumerate(rows):
        cdf[r, : len(row)] = row
    return CdfTables(
        cdf,
        np.array([len(c) for c, _ in rows], dtype=np.int32),
        np.array([o for _, o in rows], dtype=np.int32),
    )


def _interpolate_row(low: CdfTables, high: CdfTables, r: int, t: float) -> tuple[np.ndarray, int]:
    (edges_a, mass_a), (edges_b, mass_b) = _knots(low, r), _knots(high, r)
    # The mixed quantile function is piecewise linear between the knots of both.
    masses = np.union1d(mass_a, mass_b).astype(np.float64)
    edges = (1 - t) * np.interp(masses, mass_a, edges_a) + t * np.interp(masses, mass_b, edges_b)
    first, last = int(np.floor(edges[0] + 0.5)), int(np.ceil(edges[-1] - 0.5))
    bounds = np.arange(first, last + 2) - 0.5  # edges of the bins around integers first..last
    cdf = np.interp(bounds, edges, masses)
    return _to_integers(np.diff(cdf) / masses[-1]), first


def _knots(tables: CdfTables, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin edges of a row's symbols and the mass below each, the escape left out; strictly rising."""
    n, offset = int(tables.lengths[r]), int(tables.offsets[r])
    if n == 2:  # a table with nothing but the escape
        return np.array([offset - 0.5, offset + 0.5]), np.array([0.0, 1.0])
    return np.arange(offset, offset + n - 1) - 0.5, tables.cdf[r, : n - 1] / tables.cdf[r, n - 2]


def _to_integers(pmf: np.ndarray) -> np.ndarray:
    """Cumulative integers of a probability vector plus one unit of escape; every symbol keeps at least one unit."""
    spare = _TOTAL - 1 - len(pmf)
    counts = 1 + np.floor(np.round(pmf * spare, 6)).astype(np.int64)
    counts[np.argmax(counts)] += _TOTAL - 1 - counts.sum()
    return np.concatenate([[0], np.cumsum(counts), [_TOTAL]]).astype(np.int32)
