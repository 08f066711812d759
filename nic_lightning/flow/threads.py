"""One number of threads for Numba and torch, which share an OpenMP runtime."""

from __future__ import annotations

from functools import cache

import numba
import torch


@cache
def share_threads() -> None:
    """Let Numba use as many threads as torch does; call it before the first compiled function that runs on several.

    Numba starts its threads at that moment, one for each core, and thereby sets torch's number as well. On another
    number of threads torch's convolutions round differently: what a process decodes would depend on what it did before.
    """
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # pyright: ignore
    torch.set_num_threads(threads)
