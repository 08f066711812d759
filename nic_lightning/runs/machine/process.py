"""Which process a run belongs to, and whether that process still lives: a killed run cannot say that it ended."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Life = Literal["alive", "dead", "elsewhere"]


def this_process() -> dict[str, Any]:
    """Number, host and time of birth of this process: together they name it, though numbers are used again."""
    return {"pid": os.getpid(), "host": platform.node(), "born": _born(os.getpid())}


def main_process() -> bool:
    """Whether this process writes the run folder: rank 0, whoever started the ranks (Lightning, torchrun or Slurm)."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def life(status: Mapping[str, Any]) -> Life:
    """Whether the process of a run's status.json lives; "elsewhere": it belongs to another host, so nobody here knows.

    A status that names no process counts as dead.
    """
    process = status.get("process")
    if not isinstance(process, Mapping) or type(process.get("pid")) is not int:
        return "dead"
    if process.get("host") != platform.node():
        return "elsewhere"
    born = _born(process["pid"])
    return "alive" if born is not None and born == process.get("born") else "dead"


def other_process(status: Mapping[str, Any]) -> int | None:
    """Number of the process that a running run belongs to, if it lives here and is not this one."""
    if status.get("state") != "running" or life(status) != "alive" or status["process"]["pid"] == os.getpid():
        return None
    return status["process"]["pid"]


def _born(pid: int) -> str | None:
    """When a process began, as text that only it has; None when there is none, or only a zombie is left."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _born_by_ps(pid)
    try:
        # The second field is the program's name in brackets and may hold anything.
        state, *rest = Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else f"{boot} {rest[18]}"


def _born_by_ps(pid: int) -> str | None:
    """The same where there is no /proc."""
    command = ["ps", "-o", "lstart=", "-p", str(int(pid))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
