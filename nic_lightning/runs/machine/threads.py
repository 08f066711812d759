"""How the CPU threads of a run wait for one another on a machine that others use, too."""

from __future__ import annotations

import os
import sys

from nic_lightning.runs.machine.slots import usable_cores

_BUSY = 25.0
_LOOK = 0.2


def share_busy_machine() -> None:
    """Let OpenMP threads sleep soon instead of spinning where others keep the cores busy; call it before torch loads.

    Threads that wait for one another spin by default. Where there are more threads than cores this takes the core from
    whatever they wait for: `make demo` fell from 17 to .7 steps/s beside one other training, and to 6 with this. On an
    idle machine spinning is the faster way (14 against 9 steps/s), so it stays there. Results do not depend on it.
    """
    chosen = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    if any(name in os.environ for name in chosen) or os.environ.get("OMP_NUM_THREADS") == "1" or usable_cores() == 1:
        return
    import psutil

    busy = psutil.cpu_percent(_LOOK)
    if busy < _BUSY:
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"  # 10 microseconds or so
    print(
        f"Other programs keep {busy:.0f} % of this machine's cores busy; with OMP_NUM_THREADS=1 the run may be faster.",
        file=sys.stderr,
    )
