"""What a factorised coder has to code of one image: how often each entry of each channel's table comes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nic_lightning.entropy.static_window import TOTAL
from nic_lightning.entropy.tables import CdfTables


@dataclass(frozen=True, eq=False)
class TableEvents:
    """Counts of one image's symbols by the entries of its static tables.

    Entry e of channel c is the symbol `tables.offsets[c] + e`; its last entry is the escape, for all symbols outside
    the table. The digits behind an escape are left out: they are the same with any table of the same support.
    """

    counts: np.ndarray
    """(C, E) int64; 0 beyond a channel's escape."""
    tables: CdfTables
    """The static ones, a row for each channel."""

    @classmethod
    def of(cls, symbols: np.ndarray, tables: CdfTables) -> TableEvents:
        """Events of one image's symbols (C, M), integers, under the tables of its channels."""
        escape = tables.lengths.astype(np.int64)[:, None] - 2
        entry = symbols.astype(np.int64) - tables.offsets[:, None]
        entry = np.where((entry < 0) | (entry > escape), escape, entry)
        channels, width = len(escape), int(escape.max()) + 1
        flat = np.arange(channels)[:, None] * width + entry
        return cls(np.bincount(flat.ravel(), minlength=channels * width).reshape(channels, width), tables)

    @property
    def latents(self) -> int:
        """Latents of a channel."""
        return int(self.counts[0].sum())

    @cached_property
    def within(self) -> np.ndarray:
        """(C, E) bool: the channel has that entry, its escape included."""
        return np.arange(self.counts.shape[1]) <= self.tables.lengths[:, None] - 2

    def probabilities(self, tables: CdfTables | None = None) -> np.ndarray:
        """(C, E) float64, of the static tables or of others with their supports; 0 beyond a channel's escape."""
        tables = self.tables if tables is None else tables
        mass = np.diff(tables.cdf[:, : self.counts.shape[1] + 1].astype(np.int64), axis=1)
        return np.where(self.within, mass, 0) / TOTAL

    def bits(self, tables: CdfTables | None = None) -> np.ndarray:
        """(C,) float64: what the static tables take, or others with their supports."""
        return cost(self.counts, self.probabilities(tables))

    def ideal(self) -> np.ndarray:
        """(C,) float64: the entropy of the events times their number, which no tables go below."""
        return cost(self.counts, self.counts / self.counts.sum(1, keepdims=True))


def cost(counts: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Bits of events by channel, (C, E) to (C,); probabilities of what does not come may be 0."""
    return -(counts * np.log2(np.where(counts > 0, probabilities, 1.0))).sum(1)
