"""The fewest bits that a label takes at an accuracy: its rate-distortion function, an error counted as 1.

A codec for classification need not send more than what is said of the label, however it is built. This is the optimum
that papers on coding for machines draw (Ulhaq and Bajić 2023, by the iteration of Blahut and Arimoto 1972).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nic_lightning.errors import UserError

MODELNET40_TEST = (
    *(100, 50, 100, 20, 100, 100, 20, 100, 100, 20, 20, 20, 86, 20, 86, 20, 100, 100, 20, 20),
    *(20, 100, 100, 86, 20, 100, 100, 20, 100, 20, 100, 20, 20, 100, 20, 100, 100, 100, 20, 20),
)
"""Clouds of each class in ModelNet40's test split, classes in alphabetical order: airplane to xbox, 2,468 in all."""


def rate_of_accuracy(counts: Sequence[float], accuracy: float) -> float:
    """Bits per label, averaged over long sequences, below which nobody classifies as well.

    Args:
        counts: how often each label comes; any positive multiple of its probability.
        accuracy: part of the labels that come out right, 0 to 1. At or below the share of the commonest label it takes
            no bits, and 1 takes the entropy.

    Raises:
        UserError: counts that are no distribution, or an accuracy outside 0 to 1.
    """
    p = _distribution(counts)
    if not 0 <= accuracy <= 1:
        raise UserError(f"An accuracy of {accuracy:g} is not between 0 and 1.")
    if accuracy <= p.max():
        return 0.0
    if accuracy == 1:
        return float(-(p * np.log2(p)).sum())
    low, high = 1e-9, 60.0  # minus the slope, in nats for each label that is wrong: more of it buys accuracy
    for _ in range(60):
        middle = (low + high) / 2
        if _point(p, middle)[1] < accuracy:
            low = middle
        else:
            high = middle
    rate, reached = _point(p, high)
    # The function is convex, and `high` its slope there: what is left of the bisection is on the tangent.
    return max(0.0, rate - (reached - accuracy) * high / np.log(2))


def curve(counts: Sequence[float], accuracies: Sequence[float]) -> list[tuple[float, float]]:
    """(bits, accuracy) of each accuracy, as `rate_of_accuracy` has them."""
    return [(rate_of_accuracy(counts, accuracy), float(accuracy)) for accuracy in accuracies]


def _distribution(counts: Sequence[float]) -> np.ndarray:
    found = np.asarray(counts, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all() or (found < 0).any() or found.sum() <= 0:
        raise UserError("Counts of labels are a list of numbers, not negative, and some above 0.")
    found = found[found > 0]
    return found / found.sum()


def _point(p: np.ndarray, slope: float) -> tuple[float, float]:
    """Rate in bits and accuracy where the function has that slope.

    The labels that are ever named are the commonest k (Erokhin 1958): p / (e + (1 - e) q) is the same for all of them,
    e = exp(-slope), which is where the iteration of Blahut and Arimoto ends.
    """
    e, falling = np.exp(-slope), np.sort(p)[::-1]
    for k in range(len(p), 0, -1):
        common = falling[:k].sum() / (1 - e + k * e)
        if falling[k - 1] > common * e:
            break
    q = np.maximum(0.0, falling / common - e) / (1 - e)
    scale = e + (1 - e) * q
    accuracy = float((falling * q / scale).sum())
    return float(-(falling * np.log2(scale)).sum() - slope / np.log(2) * (1 - accuracy)), accuracy
