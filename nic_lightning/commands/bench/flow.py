"""`nic bench flow`: every step of the flow matcher, its pipelines and others'."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count, Json


def flow(
    *,
    size: Annotated[str, Parameter(metavar="WxH")] = "1024x436",
    max_displacement: Annotated[int, Parameter(metavar="PIXELS")] = 242,
    repeats: Count = 3,
    threads: Count | None = None,
    device: Annotated[str | None, Parameter(metavar="DEVICE")] = None,
    no_raft: Annotated[bool, Parameter(name="--no-raft")] = False,
    as_json: Json = False,
) -> None:
    """Time every step of the flow matcher, its pipelines, and other programs, on this machine.

    Processor time counts all threads, so it hardly depends on what else runs; wall time does. Bounds are measured in
    the same run: the product of large matrices, and the maximum of an array far larger than the caches.

    Args:
        size: of the frames, width x height; the default is Sintel's
        max_displacement: the largest motion that is looked for
        repeats: rounds after one to warm up; medians count
        threads: CPU threads (default: all cores)
        device: time the steps on a device of torch's too, such as cuda (default: a GPU where there is one)
        no_raft: leave RAFT out, with random weights, 12 iterations
        as_json: print JSON

    Examples:
        nic bench flow --size 320x240 --max-displacement 60 --no-raft
    """
    from nic_lightning.benchmarks.flow import main

    options = {"threads": threads or os.cpu_count() or 1, "device": device, "raft": not no_raft, "as_json": as_json}
    main(size, max_displacement=max_displacement, repeats=repeats, **options)
