"""Bjontegaard deltas over accuracy, curves drawn on flat: the numbers that Ulhaq and Bajić (MMSP 2023) publish."""

from __future__ import annotations

from typing import Any

import pytest

from nic_lightning.media.base import find_medium
from nic_lightning.metrics.bd import BdError, bd_quality, bd_rate

CLOUD = find_medium("cloud")

# Bits a cloud and top-1 accuracy in per cent on ModelNet40, from the authors' published results (MIT licence).
TMC13 = (
    (72.0, 4.052), (82.431, 11.831), (136.596, 42.22), (152.055, 50.081), (165.575, 53.768), (204.963, 63.209),
    (274.386, 73.947), (359.857, 77.715), (411.511, 79.7), (449.481, 80.794), (523.744, 81.969), (622.593, 83.266),
    (926.065, 85.859), (1326.522, 87.075), (2247.348, 87.966), (5300.188, 88.493),
)  # fmt: skip
FULL = (
    (8.0557, 45.1378), (10.3781, 59.3598), (14.4988, 69.4895), (16.7115, 72.4878), (20.9647, 76.5397),
    (30.7787, 81.0778), (46.4907, 83.9546), (60.2442, 85.0081), (74.4910, 85.8995), (139.4234, 87.6418),
    (789.7803, 88.4927),
)  # fmt: skip
OCT_ATTENTION = (
    (64.0, 4.052), (236.762, 70.237), (395.235, 80.91), (636.56, 84.654), (998.616, 86.862), (1480.256, 87.864),
    (2032.619, 88.252), (5711.102, 88.374),
)  # fmt: skip
DRACO = (
    (1376.0, 4.052), (1423.086, 43.72), (1461.099, 61.831), (1516.532, 74.554), (1612.794, 80.956),
    (1782.963, 83.874), (2036.301, 85.778), (2390.648, 87.196), (3095.024, 87.885), (4128.901, 88.087),
    (11297.303, 88.29), (14231.906, 88.331),
)  # fmt: skip


def _curve(pairs: tuple[tuple[float, float], ...]) -> list[dict[str, Any]]:
    return [{"bits": bits, "accuracy": accuracy} for bits, accuracy in pairs]


@pytest.mark.parametrize(
    ("pairs", "rate", "accuracy"),
    [(FULL, -93.8, 16.4), (OCT_ATTENTION, -13.2, 2.1), (DRACO, 780.7, -4.2)],
    ids=["full", "OctAttention", "Draco"],
)
def test_the_published_table_comes_out(pairs: tuple[tuple[float, float], ...], rate: float, accuracy: float):
    """Within the last digit of the table, .1."""
    found = bd_rate(_curve(TMC13), _curve(pairs), "accuracy", "akima", CLOUD, flat=True)
    gain = bd_quality(_curve(TMC13), _curve(pairs), "accuracy", "akima", CLOUD, flat=True)
    assert found.value == pytest.approx(rate, abs=0.1)
    assert gain.value == pytest.approx(accuracy, abs=0.1)


LONG, SHORT = ((10.0, 50.0), (100.0, 60.0), (1000.0, 70.0)), ((10.0, 50.0), (100.0, 60.0))


def test_the_test_curve_goes_on_to_the_end_of_the_anchor():
    """Over a decade of rates each: pchip of 50, 60, 60 has slope 15 at its start, 0 then, so means 56.25 and 60."""
    assert bd_quality(_curve(LONG), _curve(SHORT), "accuracy", medium=CLOUD).value == pytest.approx(0, abs=1e-9)
    drawn = bd_quality(_curve(LONG), _curve(SHORT), "accuracy", medium=CLOUD, flat=True)
    assert drawn.overlap == pytest.approx((10, 1000))
    assert drawn.value == pytest.approx((56.25 + 60) / 2 - 60, abs=1e-6)  # the curve rises by 1e-8 to be monotone


def test_no_anchor_is_drawn_on():
    plain = bd_quality(_curve(SHORT), _curve(LONG), "accuracy", medium=CLOUD)
    assert bd_quality(_curve(SHORT), _curve(LONG), "accuracy", medium=CLOUD, flat=True) == plain


def test_curves_of_accuracies_apart_stay_refused():
    with pytest.raises(BdError, match="do not overlap"):
        bd_rate(_curve(((1, 10), (2, 20))), _curve(((1, 30), (2, 40))), "accuracy", medium=CLOUD, flat=True)
