"""Sums over ranks."""

from __future__ import annotations

from typing import Any

from torch import distributed


def summed(*values: float) -> list[float]:
    """Each value summed over all ranks, which must all call it; the values themselves where there is one rank."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return list(values)
    shares: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(shares, values)
    return [sum(column) for column in zip(*shares, strict=True)]
