"""The fewest bits that tell a label with a given accuracy: the rate-distortion function of a histogram of labels.

Blahut, "Computation of channel capacity and rate-distortion functions", and Arimoto, both IEEE Transactions on
Information Theory 18, 1972. The distortion is 0 for the right label and 1 for any other, so accuracy is one minus it.
No codec of single labels or of many at once gets below this curve; at accuracy 1 it is the entropy of the labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nic_lightning.errors import UserError

PRECISION = 1e-7
"""Bits that a rate may lie above the curve. Blahut's bound tells during the iteration how far it still is."""
_MOST_ITERATIONS = 1_000_000
_HALVINGS = 60
"""Of the interval of ln(weight of a wrong label), from -_STEEPEST to 0: below the precision of float64."""
_STEEPEST = 40.0


@dataclass(frozen=True)
class LabelRate:
    """A point of the curve."""

    bits: float
    """Of a label."""
    accuracy: float
    """Share of labels that are told right, in (0, 1]."""


def label_entropy(counts: Sequence[float]) -> float:
    """Bits of a label, where all have to be right; `counts` says how often each comes."""
    p = _probabilities(counts)
    return float(-(p * np.log2(p)).sum())


def rate_at_accuracy(counts: Sequence[float], accuracy: float) -> float:
    """The fewest bits a label at which this share of labels can be told right.

    Args:
        counts: how often each label comes, (K,), in any unit.
        accuracy: in [0, 1]. Up to the share of the most frequent label it takes no bits.

    Raises:
        UserError: counts that are no histogram, or an accuracy outside [0, 1].
    """
    if not 0 <= accuracy <= 1:
        raise UserError(f"An accuracy of {accuracy} is none: give a share of labels from 0 to 1.")
    p = _probabilities(counts)
    if accuracy <= p.max():
        return 0.0
    if accuracy == 1:
        return label_entropy(counts)
    low, high, middle, found = -_STEEPEST, 0.0, 0.0, LabelRate(0.0, float(p.max()))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = _point(p, math.exp(middle))
        low, high = (middle, high) if found.accuracy > accuracy else (low, middle)
        if abs(found.accuracy - accuracy) < PRECISION:
            break
    # The slope of the curve, in bits over accuracy, is known, so the last step along it is one of second order.
    return max(0.0, found.bits - middle / math.log(2) * (accuracy - found.accuracy))


def _probabilities(counts: Sequence[float]) -> np.ndarray:
    values = np.asarray(counts, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise UserError("A histogram of labels has counts of 0 or more, finite, one for each class, and not all 0.")
    values = values[values > 0]
    return values / values.sum()


def _point(p: np.ndarray, weight: float) -> LabelRate:
    """The point whose slope is -log2(weight) bits over accuracy; `weight` in (0, 1) is that of a wrong label."""
    q = p.copy()
    for _ in range(_MOST_ITERATIONS):
        total = weight + (1 - weight) * q  # of row i of the channel before it is normalised
        ratio = p / total
        growth = (1 - weight) * ratio + weight * ratio.sum()
        q *= growth
        if math.log2(growth.max()) - float(q @ np.log2(growth)) < PRECISION:
            break
    else:
        raise UserError(f"The rate of {len(p)} labels did not come within {PRECISION} bits; give fewer classes.")
    q /= q.sum()
    total = weight + (1 - weight) * q
    bits = p @ (weight * (1 - q) / total * math.log2(weight) - np.log2(total))
    return LabelRate(max(0.0, float(bits)), float(p @ (q / total)))
