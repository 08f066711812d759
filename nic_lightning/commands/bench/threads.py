"""`nic bench threads`: several threads, alone and beside a program that keeps one core busy."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count


def threads(
    *,
    spins: Annotated[tuple[str, ...], Parameter(metavar="N", negative=())] = (),
    count: Annotated[Count | None, Parameter(name="--threads")] = None,
    seconds: Annotated[float, Parameter(metavar="S")] = 5.0,
    rounds: Count = 3,
) -> None:
    """Measure how fast several threads train and match, alone and beside a program that keeps one core busy.

    GNU OpenMP's threads spin GOMP_SPINCOUNT times while they wait for one another, and sleep then.

    Args:
        spins: a GOMP_SPINCOUNT to measure beside the default; may be repeated; those of nic-train where none is given
        count: threads; one a core where not given
        seconds: how long each is measured
        rounds: measured rounds; values take turns

    Examples:
        nic bench threads
        nic bench threads --spins 1000 --spins 10000 --rounds 1
    """
    from nic_lightning.benchmarks.threads import main

    main(spins, count, seconds, rounds)
