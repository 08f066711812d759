"""Wall-clock and processor seconds of a call."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Timing = dict[str, Any]
"""Seconds of the clock ("wall") and of all cores together ("core"), and what a benchmark adds to them."""


def once(call: Callable[[], object]) -> Timing:
    """Times of one call."""
    wall, core = time.perf_counter(), time.process_time()
    call()
    return {"wall": time.perf_counter() - wall, "core": time.process_time() - core}


def timed(call: Callable[[], object], repeats: int) -> Timing:
    """Medians of `repeats` calls after one to warm up: compiled code, memory touched."""
    call()
    found = [once(call) for _ in range(repeats)]
    return {key: statistics.median(timing[key] for timing in found) for key in ("wall", "core")}
