"""The optimum of labels against formulas, and against the published curve of ModelNet40."""

import math

import pytest

from nic_lightning.analysis.blahut_arimoto import PRECISION, label_entropy, rate_at_accuracy
from nic_lightning.errors import UserError

MODELNET40_TEST = [100] * 18 + [86] * 3 + [50] + [20] * 18
"""How many of the 2,468 test clouds each class has, the order apart."""


def _binary_entropy(p: float) -> float:
    return -p * math.log2(p) - (1 - p) * math.log2(1 - p)


@pytest.mark.parametrize("classes", [2, 5, 40])
@pytest.mark.parametrize("accuracy", [0.6, 0.8, 0.99])
def test_labels_that_are_equally_frequent_have_a_formula(classes: int, accuracy: float):
    """Shannon 1959: log K - h(D) - D log(K - 1)."""
    error = 1 - accuracy
    expected = math.log2(classes) - _binary_entropy(error) - error * math.log2(classes - 1)
    assert rate_at_accuracy([3] * classes, accuracy) == pytest.approx(expected, abs=10 * PRECISION)


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_two_unequal_labels_have_a_formula(share: float):
    """h(p) - h(D)."""
    expected = _binary_entropy(share) - _binary_entropy(0.05)
    assert rate_at_accuracy([share, 1 - share], 0.95) == pytest.approx(expected, abs=10 * PRECISION)


def test_modelnet40_takes_3_23_bits_at_80_per_cent():
    """The thesis publishes 3.2; its file of the curve has 3.228 at 80 % and 3.884 at 88.5 %."""
    assert sum(MODELNET40_TEST) == 2468
    assert rate_at_accuracy(MODELNET40_TEST, 0.8) == pytest.approx(3.23, abs=0.005)  # digits of the published values
    assert rate_at_accuracy(MODELNET40_TEST, 0.885) == pytest.approx(3.885, abs=0.005)
    assert label_entropy(MODELNET40_TEST) == pytest.approx(5.007, abs=0.0005)


def test_the_ends_are_a_guess_and_the_entropy():
    assert rate_at_accuracy(MODELNET40_TEST, 100 / 2468) == 0
    assert rate_at_accuracy(MODELNET40_TEST, 0.1) > 0
    assert rate_at_accuracy(MODELNET40_TEST, 1) == label_entropy(MODELNET40_TEST)
    assert rate_at_accuracy(MODELNET40_TEST, 1 - 1e-6) == pytest.approx(label_entropy(MODELNET40_TEST), abs=1e-4)


def test_classes_that_never_come_change_nothing():
    assert rate_at_accuracy([4, 0, 2, 0, 1], 0.9) == rate_at_accuracy([4, 2, 1], 0.9)


@pytest.mark.parametrize("counts", [[], [0, 0], [1, -1], [1, math.nan], [[1, 2]]])
def test_what_is_no_histogram_is_refused(counts: list[float]):
    with pytest.raises(UserError, match="histogram"):
        rate_at_accuracy(counts, 0.5)


def test_an_accuracy_beyond_one_is_refused():
    with pytest.raises(UserError, match="from 0 to 1"):
        rate_at_accuracy([1, 2], 80)
