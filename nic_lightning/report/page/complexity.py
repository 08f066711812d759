"""What a codec costs: operations, time, memory and parameters of each curve, from the rows of results tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_lightning.report.curves.curve import Curve, number
from nic_lightning.report.page.columns import finite
from nic_lightning.runs.record.results import mean

COSTS = {
    "macs": "multiply-accumulates per pixel",
    "latency": "encoding + decoding [ms per {item}]",
    "memory": "peak memory [MiB]",
    "parameters": "parameters",
}
"""Costs, and what their axes are called ({item}: one input). Operations and parameters leave out entropy models."""


def costs(made: Sequence[Curve]) -> list[dict[str, list[float] | None]]:
    """For each curve and cost the least, mean and greatest over its points; None where it was not measured."""
    return [{cost: _spread(curve, cost) for cost in COSTS} for curve in made]


def _spread(curve: Curve, cost: str) -> list[float] | None:
    found = [value for by_item in curve.rows if (value := mean(_of_row(row, cost) for row in by_item.values()))]
    if not found:
        return None
    return [finite(value) or 0.0 for value in (min(found), sum(found) / len(found), max(found))]


def _of_row(row: Mapping[str, Any], cost: str) -> float | None:
    if cost == "memory":
        return number(row, "peak_memory_mib")
    if cost == "parameters":
        return number(row, "parameters")
    one, other = ("macs", "pixels") if cost == "macs" else ("encode_ms", "decode_ms")
    a, b = number(row, one), number(row, other)
    if a is None or b is None or (cost == "macs" and b <= 0):
        return None
    return a / b if cost == "macs" else a + b
