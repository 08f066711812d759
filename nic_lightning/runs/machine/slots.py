"""Slots: how many jobs of multiruns a machine runs at once, and on which GPUs.

A slot is a lock on a file, held by the job that uses it. So it works across the processes of any launcher, and the
kernel frees it when the last process that holds it is gone, however it ended. GPUs are shared among all sweeps of a
user on the machine; the slots of a CPU belong to one sweep.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.machine import VISIBLE, hidden_by_submitit

VISIBLE_TO_SWEEP = "NIC_SWEEP_CUDA_VISIBLE_DEVICES"
"""What the launching process saw: submitit's local executor hides all GPUs from its jobs."""
_POLL = 0.2


@dataclass(frozen=True)
class Share:
    """What a job may use: environment variables that say so (None: unset), and open files that hold its slots."""

    environment: Mapping[str, str | None] = field(default_factory=dict)
    files: Sequence[int] = ()
    gpus: Sequence[str] = ()


@dataclass(frozen=True)
class Demand:
    """What a job asks for: `count` of `slots`, each the name of a lock and a GPU (None: a share of the CPU)."""

    slots: Sequence[tuple[str, str | None]]
    count: int
    environment: Mapping[str, str | None] = field(default_factory=dict)
    pinned: bool = False


@contextmanager
def share(
    trainer: Mapping[str, Any], limit: int | None, sweep: Path, wait: Callable[[], Any] = lambda: None
) -> Iterator[Share]:
    """Wait for free slots, and hold them.

    Args:
        trainer: the job's `trainer` config; `accelerator` and `devices` say what it needs.
        limit: jobs of one device at once; None: one for each GPU, or cores / OMP_NUM_THREADS on a CPU; 0: no limit.
        sweep: folder of the sweep.
        wait: called when slots are not free at once.

    Raises:
        RunError: the machine has not what the job asks for, or slots cannot be kept.
    """
    wanted = demand(trainer, limit, sweep)
    with ExitStack() as held:
        taken = _take(wanted, _folder(), held, wait) if wanted.count else []
        gpus = [gpu for _, gpu in taken if gpu is not None]
        visible = {VISIBLE: ",".join(gpus)} if gpus and not wanted.pinned else {}
        yield Share({**wanted.environment, **visible}, [file for file, _ in taken], gpus)


def demand(trainer: Mapping[str, Any], limit: int | None, sweep: Path) -> Demand:
    """What a job with this trainer config asks of this machine; see `share`."""
    if limit is not None and limit < 0:
        raise RunError(f"launch.slots={limit} is no number of jobs; 0 means no limit.")
    if limit == 0:
        return Demand([], 0, _shown_again())
    accelerator, devices = trainer.get("accelerator", "auto"), trainer.get("devices", "auto")
    gpus, environment = visible_gpus() if accelerator in ("gpu", "cuda", "auto") else ([], {})
    if accelerator in ("gpu", "cuda") or gpus:
        return _gpu_demand(gpus, devices, limit, environment)
    cores = usable_cores()
    threads = _number(os.environ.get("OMP_NUM_THREADS"))
    total = limit or max(1, cores // (threads or cores))
    if total > 1 and not threads:
        environment["OMP_NUM_THREADS"] = str(max(1, cores // total))
    key = hashlib.sha256(str(sweep).encode()).hexdigest()[:16]
    slots = [(f"cpu-{key}-{i}", None) for i in range(total)]
    return Demand(slots, min(total, _number(devices) or 1), {**_shown_again(), **environment})


def _gpu_demand(gpus: list[str], devices: Any, limit: int | None, environment: Mapping[str, str]) -> Demand:
    pinned = [_number(name) for name in _listed(devices)]
    wanted = len(pinned) or (len(gpus) if devices in (-1, "-1", "auto") else _number(devices) or 1)
    if not gpus or wanted > len(gpus) or any(i is None or i >= len(gpus) for i in pinned):
        raise RunError(
            f"trainer.devices={devices} asks for more GPUs than the {len(gpus)} that this machine shows; "
            f"see {VISIBLE}, or choose trainer=cpu."
        )
    if pinned:
        gpus = [gpus[i] for i in pinned if i is not None]
    total = max(limit or len(gpus), wanted)
    slots = [(f"gpu-{gpus[i % len(gpus)]}-{i // len(gpus)}", gpus[i % len(gpus)]) for i in range(total)]
    return Demand(slots, wanted, _shown_again() if pinned else environment, bool(pinned))


def visible_gpus() -> tuple[list[str], dict[str, str]]:
    """The GPUs that jobs may use, as CUDA_VISIBLE_DEVICES names them, and what makes these names hold."""
    listed = os.environ.get(VISIBLE_TO_SWEEP) if hidden_by_submitit() else os.environ.get(VISIBLE)
    if listed is not None:
        names = [name.strip() for name in listed.split(",")]
        return [name for name in names if name and name != "-1"], {}
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return [], {}
    return found, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the order in which nvidia-smi counts


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lock(file: int) -> bool:
    """Lock an open file without waiting; False when another process holds it. It is free when all copies are closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return True
    return True


def _take(wanted: Demand, folder: Path, held: ExitStack, wait: Callable[[], Any]) -> list[tuple[int, str | None]]:
    """Lock `count` slots of different GPUs: all or none, one job at a time, so that no two jobs wait for each other."""
    names = "\n".join(name for name, _ in wanted.slots)
    queue = _open(folder, f"queue-{hashlib.sha256(names.encode()).hexdigest()[:16]}")
    at_once = lock(queue)
    try:
        if not at_once:
            wait()
            fcntl.flock(queue, fcntl.LOCK_EX)
        while not (taken := _free(wanted, folder, held)):
            if at_once:
                wait()
            at_once = False
            time.sleep(_POLL)
        return taken
    finally:
        os.close(queue)


def _free(wanted: Demand, folder: Path, held: ExitStack) -> list[tuple[int, str | None]]:
    """Open files of free slots, now locked, with their GPUs; empty when they are too few."""
    taken: list[tuple[int, str | None]] = []
    with ExitStack() as attempt:
        for name, gpu in wanted.slots:
            if gpu is not None and gpu in [used for _, used in taken]:
                continue
            file = _open(folder, name)
            if not lock(file):
                os.close(file)
                continue
            attempt.callback(os.close, file)
            taken.append((file, gpu))
            if len(taken) == wanted.count:
                held.push(attempt.pop_all())
                return taken
    return []


def _folder() -> Path:
    """A folder of this user on this machine's own disk: locks on network file systems are a matter of luck."""
    folder = Path(tempfile.gettempdir()) / f"nic_lightning-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise RunError(f"{folder} belongs to somebody else; set TMPDIR to a folder of your own.")
    return folder


def _open(folder: Path, name: str) -> int:
    safe = "".join(c if c.isalnum() or c in "-." else "_" for c in name)
    return os.open(folder / safe, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _shown_again() -> dict[str, str | None]:
    """What undoes submitit's hiding."""
    return {VISIBLE: os.environ.get(VISIBLE_TO_SWEEP)} if hidden_by_submitit() else {}


def _listed(devices: Any) -> list[Any]:
    """Devices by number, [0, 2] or "0,2"; empty for a plain count."""
    if isinstance(devices, str) and "," in devices:
        return [name for name in devices.split(",") if name.strip()]
    return list(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else []


def _number(value: Any) -> int | None:
    """A number of at least 0, also as text; None for anything else, such as "auto"."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if number >= 0 else None
