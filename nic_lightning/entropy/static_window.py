"""Static integer tables as dense logits over one window of symbols: what networks see of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.entropy.tables import CdfTables

TOTAL = 1 << 16
DEAD = 64
"""Units of 2^-16 beside the commonest symbol's, and one for each other symbol, up to which a row is not adapted."""
_OUTSIDE = -24.0
"""log2 of the probability of a symbol outside its table: 16 bits of the escape, 4 of the count of digits, 4 of one."""


@dataclass(frozen=True, eq=False)
class StaticWindow:
    """Rows of static tables over the symbols `first` to `first + width - 1`, which reach beyond every table.

    The network's bins are symbols -bins/2 to bins/2 - 1, in the window from place `low` on.
    """

    first: int
    width: int
    low: int
    bins: int
    log2: Tensor
    """(R, width) log2 of the static probabilities; outside a table, what a short escape costs."""
    inside: Tensor
    """(R, width) bool: the symbol is in the row's table."""
    live: Tensor
    """(R,) bool: the row is worth adapting."""

    @classmethod
    def of(cls, tables: CdfTables, bins: int) -> StaticWindow:
        """The window of all rows of `tables`."""
        symbols = tables.lengths.astype(np.int64) - 2
        first = min(int(tables.offsets.min()) - 1, -(bins // 2))
        last = max(int((tables.offsets + symbols).max()), bins // 2 - 1)
        place = np.arange(first, last + 1) - tables.offsets[:, None]
        inside = (place >= 0) & (place < symbols[:, None])
        entries = np.diff(tables.cdf.astype(np.int64), axis=1)
        frequency = np.take_along_axis(entries, np.where(inside, place, 0), 1)
        log2 = np.where(inside, np.log2(np.maximum(frequency, 1) / TOTAL), _OUTSIDE)
        return cls(
            first, last - first + 1, -(bins // 2) - first, bins,
            torch.from_numpy(log2).float(), torch.from_numpy(inside), torch.from_numpy(live_rows(tables)),
        )  # fmt: skip

    def of_rows(self, rows: slice, like: Tensor | None = None) -> StaticWindow:
        """Of some rows, on the device and of the type of another tensor."""
        log2, inside, live = self.log2[rows], self.inside[rows], self.live[rows]
        if like is None:
            return replace(self, log2=log2, inside=inside, live=live)
        return replace(self, log2=log2.to(like), inside=inside.to(like.device), live=live.to(like.device))

    @property
    def supported(self) -> range:
        """The bins that a live row has a symbol in; one at least."""
        places = (self.inside & self.live[:, None]).any(0).nonzero().flatten().tolist() or [self.low]
        first, stop = places[0] - self.low, places[-1] + 1 - self.low
        return range(min(max(0, first), self.bins - 1), max(min(self.bins, stop), 1))

    def difference(self, p: Tensor) -> Tensor:
        """What h_a sees of distributions (N, R, width): (N, R, bins), 0 where they are as the tables say.

        Differences of probabilities are divided by the root of the static one, whose square is what they cost: the
        divergence of two near distributions is sum (p - q)^2 / 2q. What lies beyond the bins counts in the outermost.
        """
        static = torch.where(self.inside, torch.exp2(self.log2), 0.0)
        p, static = self._folded(p), self._folded(static)
        return torch.where(self.live[:, None], (p - static) * torch.rsqrt(static + 1 / 256), 0.0)

    def log2_probabilities(self, corrections: Tensor) -> Tensor:
        """log2 of the adapted probabilities (N, R, width), as their integer tables have them but for rounding.

        `corrections` (N, R, bins), in bits, are added to the static logits. Every symbol of a table keeps one unit, and
        so does the escape.
        """
        high = self.width - self.low - self.bins
        logits = (self.log2 + F.pad(corrections, (self.low, high))).masked_fill(~self.inside, -1e4)
        share = torch.softmax(logits * float(np.log(2)), dim=-1)
        spare = TOTAL - 1 - self.inside.sum(-1, keepdim=True)
        adapted = torch.log2((1 + share * spare) / TOTAL)
        return torch.where(self.inside & self.live[:, None], adapted, self.log2)

    def _folded(self, p: Tensor) -> Tensor:
        """The part of the bins, with the mass below and above added to the first and the last."""
        below, inner, above = p.split((self.low, self.bins, self.width - self.low - self.bins), dim=-1)
        first, middle, last = inner.split((1, self.bins - 2, 1), dim=-1)
        return torch.cat([first + below.sum(-1, keepdim=True), middle, last + above.sum(-1, keepdim=True)], dim=-1)


def live_rows(tables: CdfTables) -> np.ndarray:
    """Which rows are worth adapting, (R,) bool, by integers alone; of the others nearly all latents are one symbol."""
    symbols = tables.lengths.astype(np.int64) - 2
    entries = np.diff(tables.cdf.astype(np.int64), axis=1)
    within = np.arange(entries.shape[1]) < symbols[:, None]
    commonest = np.where(within, entries, 0).max(1, initial=0)
    return (symbols > 1) & (commonest < TOTAL - DEAD - symbols)
