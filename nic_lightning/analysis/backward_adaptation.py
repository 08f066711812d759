"""Backward adaptation: a coder that counts symbols as it goes and sends no side information.

The oldest answer to tables that do not fit an image, and so a baseline of those that are sent with it: the probability
of the next symbol is (weight * p_static + times it has come) / (weight + symbols so far), the estimator of Krichevsky
and Trofimov (1981) with the static table in place of the uniform prior. The receiver counts along. What it costs is
speed: each symbol changes the table of the next one, so nothing can be looked up in a table that was made beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from nic_lightning.analysis.table_events import TableEvents

WEIGHTS = tuple(4.0**k for k in range(1, 9))
"""Of the static table, in symbols, 4 to 65,536. An image takes the best one for all its channels, and names it."""
CHOICE_BITS = math.log2(len(WEIGHTS))


@dataclass(frozen=True, eq=False)
class BackwardRates:
    """Bits by channel (C,) at the weight that is best for the image."""

    bits: np.ndarray
    weight: float

    @property
    def total(self) -> float:
        """Bits of the image, the name of the weight included."""
        return float(self.bits.sum()) + CHOICE_BITS


def backward_rates(events: TableEvents) -> BackwardRates:
    """What adaptive tables take that begin as the static ones, exact probabilities, without digits of escapes."""
    found = [BackwardRates(adaptive_bits(events.counts, events.probabilities(), w), w) for w in WEIGHTS]
    return min(found, key=lambda rates: rates.total)


def adaptive_bits(counts: np.ndarray, prior: np.ndarray, weight: float) -> np.ndarray:
    """Bits of all symbols, coded one after the other, by channel: (C, E) to (C,).

    In whichever order they come, the product of their probabilities is a quotient of gamma functions. Where the prior
    is 0, counts have to be 0.
    """
    n, alpha = (torch.from_numpy(np.asarray(a, np.float64)) for a in (counts, weight * prior))
    comes = n > 0
    rising = torch.where(comes, torch.lgamma(alpha + n) - torch.lgamma(torch.where(comes, alpha, 1.0)), 0.0)
    total = torch.tensor(weight, dtype=torch.float64)
    nats = torch.lgamma(total + n.sum(1)) - torch.lgamma(total) - rising.sum(1)
    return (nats / math.log(2)).numpy()
