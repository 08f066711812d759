"""Two processes that add up what each of them measured."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def on_two_ranks(measure: Callable[[int], Any], folder: Path) -> list[Any]:
    """What `measure(rank)` returns in each of two processes, which can call one another."""
    context = torch.multiprocessing.get_context("fork")  # without seconds of imports
    pipes = [context.Pipe() for _ in range(2)]
    processes = [context.Process(target=_rank, args=(measure, i, folder / "store", pipes[i][1])) for i in range(2)]
    try:
        for process in processes:
            process.start()
        assert all(ours.poll(240) for ours, _ in pipes)
        return [ours.recv() for ours, _ in pipes]
    finally:
        for process in processes:
            process.join(20)
            process.kill()


def _rank(measure: Callable[[int], Any], number: int, store: Path, pipe: Connection) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=2)
    pipe.send(measure(number))
    distributed.destroy_process_group()
