"""Latency of a decision over the bitrate of a link."""

from __future__ import annotations

import pytest

from nic_lightning.analysis.inference_latency import Strategy, fastest, latency
from nic_lightning.errors import UserError

DEVICE = Strategy("device", 1.0, 0.0)
SERVER = Strategy("server", 0.01, 1000.0, 0.1)
SHARED = Strategy("shared", 0.2, 50.0, 0.1)


def test_only_what_is_sent_depends_on_the_bitrate():
    assert latency(DEVICE, 1.0, 5.0) == latency(DEVICE, 1e9) == 1.0
    assert latency(SERVER, 1000.0, 0.05) == pytest.approx(0.01 + 1.0 + 0.05 + 0.1)
    assert latency(SHARED, 50.0) == pytest.approx(1.3)


def test_each_strategy_is_the_fastest_somewhere():
    """Shared beats the device from 50 / .7 = 71 bit/s on, the server beats shared from 950 / .19 = 5,000 on."""
    rates = [10.0, 70.0, 72.0, 4900.0, 5100.0, 1e6]
    assert fastest([DEVICE, SERVER, SHARED], rates) == [
        ("device", 10.0, 70.0), ("shared", 72.0, 4900.0), ("server", 5100.0, 1e6),
    ]  # fmt: skip


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_links_that_send_nothing(rate: float):
    with pytest.raises(UserError, match="above 0"):
        latency(SERVER, rate)


def test_times_below_nothing():
    with pytest.raises(UserError, match="shared: times"):
        latency(Strategy("shared", -1.0, 5.0), 10.0)
