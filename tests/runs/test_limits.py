from __future__ import annotations

from datetime import timedelta

import pytest

from nic_lightning.config import ConfigError
from nic_lightning.runs.settings.limits import seconds_of


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("01:02:03:04", 93_784), ({"minutes": 2}, 120), (timedelta(seconds=3), 3), (None, None)],
)
def test_seconds_of_a_limit(limit, seconds) -> None:
    assert seconds_of(limit) == seconds


@pytest.mark.parametrize("limit", ["12:00", "a:b:c:d", {"fortnights": 1}, "00:00:00:00", {"days": 1e300}])
def test_a_limit_that_is_none_is_a_sentence(limit) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_time"):
        seconds_of(limit)
