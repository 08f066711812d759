from __future__ import annotations

import pytest

from nic_lightning.runs.record.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (980, "16 min"),
        (3599, "1 h 0 min"),
        (9660, "2 h 41 min"),
        (86_399, "1 d 0 h"),
        (161_560.6 * 60, "112 d 5 h"),
    ],
)
def test_a_time_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
