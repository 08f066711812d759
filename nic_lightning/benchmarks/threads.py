"""How fast several threads work together, alone on the machine and while another program keeps one core busy.

GNU OpenMP's threads spin while they wait for one another, GOMP_SPINCOUNT times, and sleep then; torch and Numba both
use it. Each value is measured in processes of its own, since it is read once.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nic_lightning.errors import UserError, counted
from nic_lightning.runs.machine.threads import SPINS, SPINS_IF_BUSY

DEFAULT = "default"
KINDS = {"training": "steps of experiment=demo", "flow": "triples of 240x320 frames"}
_OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables of the caller that would decide instead."""


@dataclass
class Pace:
    """Calls a second of one setting, one number a round."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def work(kind: str, threads: int, seconds: float) -> float:
    """Calls a second of one kind of work in this process, over `seconds` after a few calls to warm up."""
    import time

    call = {"training": _training, "flow": _flow}[kind](threads)
    for _ in range(3):
        call()
    start, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - start)


def _training(threads: int) -> Callable[[], object]:
    import itertools

    import torch
    from hydra.utils import instantiate

    from nic_lightning.benchmarks.training import plain_steps
    from nic_lightning.config import compose

    torch.set_num_threads(threads)
    config = compose("train", ["experiment=demo"])
    codec: Any = instantiate(config.codec, _convert_="all")
    batch = torch.rand(config.data.batch_size, 3, config.data.crop, config.data.crop)
    steps = plain_steps(codec, itertools.repeat(batch), config, torch.device("cpu"))
    return lambda: next(steps)


def _flow(threads: int) -> Callable[[], object]:
    import numba

    from nic_lightning.benchmarks.flow import moving_frames
    from nic_lightning.flow.features import FeatureNetwork
    from nic_lightning.flow.pipeline import Pipeline
    from nic_lightning.flow.settings import preset

    numba.set_num_threads(threads)
    frames = moving_frames(240, 320, 3)
    pipeline = Pipeline(preset("simplified", ratio=3, max_displacement=16), FeatureNetwork().eval())
    return lambda: pipeline.run(*frames)


def measure(kind: str, spins: Sequence[str], threads: int, seconds: float, rounds: int) -> dict[str, Pace]:
    """Pace of each number of spins, which take turns, alone and beside a program that keeps one core busy."""
    found = {value: Pace() for value in spins}
    for _ in range(rounds):
        for value, pace in found.items():
            pace.alone.append(_in_process(kind, value, threads, seconds))
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                pace.beside.append(_in_process(kind, value, threads, seconds))
            finally:
                busy.kill()
                busy.wait()
    return found


def _in_process(kind: str, spins: str, threads: int, seconds: float) -> float:
    environment = {name: value for name, value in os.environ.items() if name not in _OWN}
    if spins != DEFAULT:
        environment["GOMP_SPINCOUNT"] = spins
    program = f"from nic_lightning.benchmarks.threads import work; print(work({kind!r}, {threads}, {seconds}))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"The {kind} of a process failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return float(done.stdout.split()[-1])


def main(spins: Sequence[str], threads: int | None, seconds: float, rounds: int) -> None:
    """Print the pace of each number of spins, and its ratio to the default's alone."""
    from nic_lightning.runs.machine.slots import usable_cores

    if wrong := [value for value in spins if value != DEFAULT and not value.isdecimal()]:
        raise UserError(
            f"--spins {wrong[0]} is no number; give how often a thread looks before it sleeps, such as 1000."
        )
    used = usable_cores() if threads is None else threads
    chosen = list(dict.fromkeys([DEFAULT, *(spins or [SPINS, SPINS_IF_BUSY])]))
    print(
        f"{counted(used, 'thread')}, medians of {counted(rounds, 'round')}; calls a second (and to the default's alone)"
    )
    for kind, what in KINDS.items():
        print(f"\n{what:28}{'alone':>16}{'beside one core':>20}")
        found = measure(kind, chosen, used, seconds, rounds)
        best = statistics.median(found[DEFAULT].alone)
        for value, pace in found.items():
            cells = (statistics.median(series) for series in (pace.alone, pace.beside))
            print(f"GOMP_SPINCOUNT {value:>12} " + "".join(f"{cell:>11.2f} ({cell / best:.2f})" for cell in cells))
