"""`nic bench report`: making and opening the page of 200 runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from nic_lightning.commands.options import Count


def report(
    *,
    runs: Count = 200,
    images: Count = 24,
    points: Count = 7,
    keep: Annotated[Path | None, Parameter(metavar="DIR")] = None,
) -> None:
    """Time how long the report of many runs takes to make, and to open in a browser.

    Args:
        runs: how many
        images: of each run
        points: operating points of each run
        keep: leave runs and page here, for next time

    Examples:
        nic bench report --runs 50
    """
    from nic_lightning.benchmarks.report import main

    main(runs, images, points, keep)
