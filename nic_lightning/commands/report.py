"""`nic report`: the HTML page, and its R-D table in the terminal."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.report.html import write_report
from nic_lightning.report.text import rd_table
from nic_lightning.runs.index import find_runs


def report(runs: list[Path], out: Path) -> None:
    """Write the page about `runs` to `out`; print the R-D table and where the page is."""
    write_report(runs, out)
    print(rd_table([row for run in find_runs(runs) for row in run.results()]))
    print(f"\nReport: {out.resolve()}")
