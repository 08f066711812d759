"""Seconds of a call, of calls that take turns, and the threads that they run on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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


def alternate(rounds: int, x: Tensor, *functions: Callable[[Tensor], object], warm_up: int = 2) -> list[list[float]]:
    """Seconds of each function in each round; they take turns, so that a slow phase of the machine hits all of them."""
    times: list[list[float]] = [[] for _ in functions]
    for i in range(warm_up + rounds):
        for function, series in zip(functions, times, strict=True):
            start = time.perf_counter()
            function(x)
            if i >= warm_up:
                series.append(time.perf_counter() - start)
    return times


def set_threads_and_seed(threads: int | None) -> int:
    """Set torch's number of threads, where one is given, and seed 0; the threads that torch now has."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    return torch.get_num_threads()
