"""How the CPU threads of a run wait for one another on a machine that others may use, too."""

from __future__ import annotations

import os
import sys

from nic_lightning.runs.machine.slots import usable_cores

SPINS, SPINS_IF_BUSY = "10000", "1000"
"""How many times a thread of GNU OpenMP looks whether the others are done before it sleeps: .1 ms and .01 ms or so.

By default it does so for milliseconds. Where there are more threads than cores, that takes the core from whatever they
wait for. `nic bench threads` measures it; docs/running.md has a table.
"""
_CHOSEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_BUSY = 25.0
_LOOK = 0.2


def spin_briefly() -> None:
    """Let threads that wait for one another sleep soon; call it before torch or Numba loads.

    What a user has set stays. No result depends on it.
    """
    if not any(name in os.environ for name in _CHOSEN) and _has_several_threads():
        os.environ["GOMP_SPINCOUNT"] = SPINS


def share_busy_machine() -> None:
    """Let threads sleep at once, and say so, where others keep the cores busy; after `spin_briefly`, before torch."""
    if os.environ.get("GOMP_SPINCOUNT") != SPINS:
        return
    import psutil

    busy = psutil.cpu_percent(_LOOK)
    if busy < _BUSY:
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS_IF_BUSY
    print(
        f"Other programs keep {busy:.0f} % of this machine's cores busy; with OMP_NUM_THREADS=1 the run may be faster.",
        file=sys.stderr,
    )


def _has_several_threads() -> bool:
    return os.environ.get("OMP_NUM_THREADS") != "1" and usable_cores() > 1
