"""The theoretical optimum of classification against closed forms and the published curve."""

from __future__ import annotations

import numpy as np
import pytest

from nic_lightning.analysis.classification_optimum import MODELNET40_TEST, curve, rate_of_accuracy
from nic_lightning.errors import UserError


def binary_entropy(x: float) -> float:
    return -x * np.log2(x) - (1 - x) * np.log2(1 - x)


def blahut_arimoto(p: np.ndarray, slope: float) -> tuple[float, float]:
    """Rate in bits and accuracy at a slope by the plain iteration, which says how far it is from the end."""
    weight = np.where(np.eye(len(p)) > 0, 1.0, np.exp(-slope))
    q = np.full(len(p), 1 / len(p))
    for _ in range(20_000):
        ratio = weight.T @ (p / (weight @ q))
        q = q * ratio
        if np.log(ratio.max()) < 1e-9:
            break
    joint = p[:, None] * q * weight / (weight @ q)[:, None]
    parts = joint * np.log2(np.maximum(joint, 1e-300) / np.maximum(p[:, None] * joint.sum(0), 1e-300))
    return float(parts.sum()), float(np.trace(joint))


@pytest.mark.parametrize("slope", [1.0, 2.0, 4.5, 8.0])
@pytest.mark.parametrize("counts", [MODELNET40_TEST, (8, 4, 2, 1, 1)])
def test_the_iteration_of_blahut_and_arimoto_ends_there(counts, slope):
    p = np.array(counts) / sum(counts)
    rate, accuracy = blahut_arimoto(p, slope)
    # The iteration stops within 1e-9 nats of the optimum of rate + slope * error.
    assert rate_of_accuracy(counts, accuracy) == pytest.approx(rate, abs=1e-5)


@pytest.mark.parametrize("accuracy", [0.6, 0.75, 0.9, 0.99])
def test_two_labels_and_equal_labels_have_closed_forms(accuracy):
    """Cover and Thomas, theorem 10.3.1: H(p) - H(D); and for m equal labels log m - H(D) - D log(m - 1)."""
    error = 1 - accuracy
    assert rate_of_accuracy([1, 1], accuracy) == pytest.approx(1 - binary_entropy(error), abs=1e-6)
    uneven = max(0.0, binary_entropy(0.3) - binary_entropy(error)) if error < 0.3 else 0.0
    assert rate_of_accuracy([3, 7], accuracy) == pytest.approx(uneven, abs=1e-6)
    expected = np.log2(40) - binary_entropy(error) - error * np.log2(39)
    assert rate_of_accuracy([5] * 40, accuracy) == pytest.approx(expected, abs=1e-6)


def test_modelnet40_is_the_published_curve():
    """Readings of the authors' curve, which has three digits; the talk prints 3.2 bits at 80 %."""
    assert sum(MODELNET40_TEST) == 2468
    assert len(MODELNET40_TEST) == 40
    (first, _), (second, _) = curve(MODELNET40_TEST, [0.8, 0.885])
    assert (first, second) == (pytest.approx(3.228, abs=0.01), pytest.approx(3.884, abs=0.01))
    assert rate_of_accuracy(MODELNET40_TEST, 1.0) == pytest.approx(5.007, abs=5e-4)
    assert rate_of_accuracy(MODELNET40_TEST, 0.9999) == pytest.approx(5.007, abs=5e-3)
    assert rate_of_accuracy(MODELNET40_TEST, 100 / 2468) == 0.0  # 4.05 % by naming the commonest label
    assert rate_of_accuracy(MODELNET40_TEST, 0.042) > 0


def test_more_accuracy_takes_more_bits_and_ever_more_of_them():
    rates = [rate for rate, _ in curve([8, 4, 2, 1, 1], np.linspace(0.5, 1, 11).tolist())]
    steps = np.diff(rates)
    assert rates[0] == 0.0
    assert (steps > 0).all()
    assert (np.diff(steps) > -1e-6).all()


@pytest.mark.parametrize("counts", [[], [0, 0], [-1, 2], [[1, 2]], [float("nan")]])
def test_what_is_no_distribution(counts):
    with pytest.raises(UserError, match="Counts of labels"):
        rate_of_accuracy(counts, 0.5)
    with pytest.raises(UserError, match="not between 0 and 1"):
        rate_of_accuracy([1, 1], 1.5)
