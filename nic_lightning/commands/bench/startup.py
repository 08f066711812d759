"""`nic bench startup`: what commands cost before they do anything, and what they import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count


def startup(
    *,
    against: Annotated[Path | None, Parameter(metavar="CHECKOUT")] = None,
    rounds: Count = 3,
) -> None:
    """Measure the processor time of commands that do little, each in a process of its own.

    Args:
        against: also measure this checkout of the project, in turns
        rounds: measured rounds

    Examples:
        nic bench startup --rounds 1
        nic bench startup --against ../before
    """
    from nic_lightning.benchmarks.startup import main

    main(against, rounds)
