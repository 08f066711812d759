"""Tables as mixtures of a few Gaussians that are fitted to each image: the baseline that learns nothing.

After M. Balcilar, B. Damodaran and P. Hellier, "Reducing the amortization gap of entropy bottleneck in end-to-end image
compression" (PCS 2022): K = 1, 2 or 3 Gaussians stand for the distribution of a channel, their 3K - 1 parameters take 8
bits each, and the channel keeps its static table where that is cheaper. What the paper leaves open is decided here: the
grid of the parameters (`decode`), the search for them, and how the choices are sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nic_lightning.analysis.table_events import TableEvents
from nic_lightning.entropy.static_window import TOTAL, live_rows
from nic_lightning.entropy.tables import CdfTables

MOST = 3
"""Gaussians of a channel."""
PARAMETER_BITS = 8
_NARROWEST = -3.0
"""log2 of the least standard deviation, in symbols."""
_ROUNDS = 20
"""Of expectation maximisation."""
_STEPS = (4, 2, 1)
"""Of the search for parameters after it, in units of their grid."""


@dataclass(frozen=True, eq=False)
class GaussianRates:
    """What one image takes with the best number of Gaussians in each channel."""

    bits: np.ndarray
    """(C,) of latents and parameters, without digits of escapes."""
    gaussians: np.ndarray
    """(C,) int: how many Gaussians the channel has; 0: its static table."""
    choices: float
    """Bits that say so, of channels that are worth adapting (`static_window.live_rows`)."""
    static: float

    @property
    def total(self) -> float:
        """Bits of the image; one says whether it has any Gaussians at all."""
        return 1.0 + min(self.static, float(self.bits.sum()) + self.choices)


def gaussian_rates(events: TableEvents) -> GaussianRates:
    """Fit 1 to 3 Gaussians to each channel's symbols and take what is cheapest."""
    static, live = events.bits(), live_rows(events.tables)
    costs = [static]
    for k in range(1, MOST + 1):
        bits = events.bits(gaussian_tables(events.tables, fit(events, k)))
        costs.append(np.where(live, bits + PARAMETER_BITS * (3 * k - 1), np.inf))
    gaussians = np.argmin(costs, axis=0)
    return GaussianRates(np.min(costs, axis=0), gaussians, choice_bits(gaussians[live]), float(static.sum()))


def choice_bits(gaussians: np.ndarray) -> float:
    """Bits of the numbers of Gaussians, coded one after the other by (times it has come + 1) / (so far + 4)."""
    counts = np.bincount(gaussians, minlength=MOST + 1)
    nats = math.lgamma(len(gaussians) + MOST + 1) - math.lgamma(MOST + 1) - sum(math.lgamma(n + 1) for n in counts)
    return nats / math.log(2)


def gaussian_tables(static: CdfTables, codes: np.ndarray) -> CdfTables:
    """Integer tables that a receiver makes of parameters (C, 3K - 1), bytes; their supports are the static ones'.

    Every symbol keeps one unit of 2^-16, and so does the escape.
    """
    mass = _units(static, torch.from_numpy(codes)).long().numpy()
    cdf = np.zeros_like(static.cdf)
    cdf[:, 1 : mass.shape[1] + 1] = mass.cumsum(1)
    return CdfTables(cdf, static.lengths, static.offsets)


def decode(codes: Tensor, symbols: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means and standard deviations, in entries of the table, and weights, each (C, K), of bytes (C, 3K - 1).

    Means lie evenly over the `symbols` (C,) of a table, deviations evenly by logarithm from 1/8 to their number, and
    weights are e^((byte - 128) / 16) times that of the last Gaussian.
    """
    k = (codes.shape[1] + 1) // 3
    mean, deviation, weight = codes.double().split((k, k, k - 1), dim=1)
    octaves = torch.log2(symbols.double().clamp(min=1))[:, None] - _NARROWEST
    logits = torch.cat([(weight - 128) / 16, torch.zeros(len(codes), 1, dtype=torch.float64)], dim=1)
    centre = mean / 255 * (symbols[:, None] - 1)
    return centre, torch.exp2(_NARROWEST + octaves * deviation / 255), torch.softmax(logits, dim=1)


def encode(mean: Tensor, deviation: Tensor, weight: Tensor, symbols: Tensor) -> Tensor:
    """The nearest bytes (C, 3K - 1), whose inverse is `decode`."""
    octaves = torch.log2(symbols.double().clamp(min=1))[:, None] - _NARROWEST
    logits = 128 + 16 * torch.log(weight.clamp(min=1e-9) / weight[:, -1:].clamp(min=1e-9))
    means = 255 * mean / (symbols[:, None] - 1).clamp(min=1)
    parts = [means, 255 * (torch.log2(deviation) - _NARROWEST) / octaves, logits[:, :-1]]
    return torch.cat(parts, dim=1).round().clamp(0, 255).long()


def fit(events: TableEvents, k: int) -> np.ndarray:
    """Parameters of `k` Gaussians for each channel, bytes (C, 3k - 1).

    Expectation maximisation begins twice, with Gaussians of one mean and several deviations and with ones of several
    means; then single parameters are moved on their grid while that makes the integer tables cheaper.
    """
    counts, symbols = torch.from_numpy(events.counts).double(), torch.from_numpy(events.tables.lengths).long() - 2
    inside = torch.where(torch.arange(counts.shape[1]) < symbols[:, None], counts, 0.0)
    found = []
    for mixture in _starts(inside, k):
        for _ in range(_ROUNDS):
            mixture = _maximised(inside, *mixture)
        found.append(_search(events.tables, counts, encode(*mixture, symbols)))
    codes, best = found[0]
    for others, bits in found[1:]:
        codes = torch.where((bits < best)[:, None], others, codes)
    return codes.numpy()


def _starts(counts: Tensor, k: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Means, deviations and weights, (C, K) each, to begin with."""
    entry, total = torch.arange(counts.shape[1]), counts.sum(1, keepdim=True).clamp(min=1)
    mean = (counts * entry).sum(1, keepdim=True) / total
    deviation = ((counts * (entry - mean) ** 2).sum(1, keepdim=True) / total).sqrt().clamp(min=0.2)
    apart, same = torch.arange(k) - (k - 1) / 2, torch.ones(1, k, dtype=torch.float64)
    starts = [(mean * same, deviation * 4.0**apart, same.expand(len(counts), k) / k)]
    if k > 1:
        spacing = (12 / (k**2 - 1)) ** 0.5  # means that far from one another have the channel's variance
        starts.append((mean + spacing * deviation * apart, deviation / 4 * same, starts[0][2]))
    return starts


def _maximised(counts: Tensor, mean: Tensor, deviation: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One round of expectation maximisation over the counts (C, E) of symbols."""
    entry = torch.arange(counts.shape[1])[None, :, None]
    mass = _below(counts.shape[1], mean, deviation).diff(dim=1).clamp(min=0) * weight[:, None] + 1e-12
    part = counts[..., None] * mass / mass.sum(-1, keepdim=True)
    total = part.sum(1).clamp(min=1e-9)
    mean = (part * entry).sum(1) / total
    variance = (part * (entry - mean[:, None]) ** 2).sum(1) / total - 1 / 12  # of the rounding to symbols
    return mean, variance.clamp(min=4.0**_NARROWEST).sqrt(), total / total.sum(1, keepdim=True)


def _search(static: CdfTables, counts: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters and bits (C,) where no single step makes a channel cheaper."""
    best = _cost(static, codes, counts)
    for step in _STEPS:
        for column in range(codes.shape[1]):
            for change in (-step, step):
                tried = codes.clone()
                tried[:, column] = (tried[:, column] + change).clamp(0, 255)
                bits = _cost(static, tried, counts)
                better = bits < best
                codes, best = torch.where(better[:, None], tried, codes), torch.minimum(bits, best)
    return codes, best


def _cost(static: CdfTables, codes: Tensor, counts: Tensor) -> Tensor:
    return -(counts * torch.log2(_units(static, codes).clamp(min=1) / TOTAL)).sum(1)


def _units(static: CdfTables, codes: Tensor) -> Tensor:
    """Units of 2^-16 by entry, (C, E) float64; the escape has one, and what lies behind it none."""
    symbols = torch.from_numpy(static.lengths.astype(np.int64)) - 2
    entry = torch.arange(int(symbols.max()) + 1)
    centre, deviation, weight = decode(codes, symbols)
    below = (_below(len(entry), centre, deviation) * weight[:, None]).sum(-1)
    inside = entry < symbols[:, None]
    share = torch.where(inside, below.diff(dim=1).clamp(min=0), 0.0).cumsum(1)
    share = share / share[:, -1:].clamp(min=1e-300)
    spare = torch.floor(share * (TOTAL - 1 - symbols)[:, None])
    units = torch.where(inside, 1 + spare.diff(dim=1, prepend=torch.zeros(len(spare), 1)), 0.0)
    rest = TOTAL - 1 - units.sum(1, keepdim=True)  # all of it where no Gaussian reaches the table
    units[:, :1] += rest * (symbols[:, None] > 0)
    escape = TOTAL - units.sum(1, keepdim=True)
    return torch.where(entry == symbols[:, None], escape, units)


def _below(entries: int, mean: Tensor, deviation: Tensor) -> Tensor:
    """Mass of Gaussians (C, K) below the edges of the entries' bins, (C, E + 1, K)."""
    edges = (torch.arange(entries + 1) - 0.5)[None, :, None]
    return torch.special.ndtr((edges - mean[:, None]) / deviation[:, None])
