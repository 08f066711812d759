"""How long a decision takes, when a device senses and a server may help: over the bitrate between them.

Three strategies of collaborative intelligence (Kang et al., "Neurosurgeon", ASPLOS 2017; talk of M. Ulhaq, "Learned
compression of images and point clouds"): the device alone, which sends nothing; the server alone, which gets the input;
both, where the device sends what the server has to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nic_lightning.errors import UserError


@dataclass(frozen=True)
class Strategy:
    """Where the time of one decision goes."""

    name: str
    edge_s: float
    """Seconds of computing on the device."""
    bits: float
    """What is sent for a decision; 0 of the device alone, which waits for no answer either."""
    server_s: float = 0.0
    """Seconds of computing on the server."""


def latency(strategy: Strategy, bits_per_second: float, round_trip_s: float = 0.0) -> float:
    """Seconds from an input to its decision, one at a time.

    Args:
        strategy: what is computed where.
        bits_per_second: of the link from the device to the server.
        round_trip_s: what the link takes beside that, there and back.

    Raises:
        UserError: a rate that is not above 0, or times below 0.
    """
    if not 0 < bits_per_second < math.inf:
        raise UserError(f"A link of {bits_per_second:g} bit/s sends nothing; give a rate above 0.")
    if not 0 <= round_trip_s < math.inf or min(strategy.edge_s, strategy.bits, strategy.server_s) < 0:
        raise UserError(f"{strategy.name}: times and bits are 0 or more.")
    sent = strategy.bits / bits_per_second + round_trip_s if strategy.bits else 0.0
    return strategy.edge_s + sent + strategy.server_s


def fastest(
    strategies: Sequence[Strategy], rates: Sequence[float], round_trip_s: float = 0.0
) -> list[tuple[str, float, float]]:
    """(name, lowest, highest rate) of stretches of `rates`, rising, in which a strategy is the fastest one."""
    stretches: list[tuple[str, float, float]] = []
    for rate in rates:
        name = min(strategies, key=lambda strategy: latency(strategy, rate, round_trip_s)).name
        if stretches and stretches[-1][0] == name:
            stretches[-1] = (name, stretches[-1][1], rate)
        else:
            stretches.append((name, rate, rate))
    return stretches
