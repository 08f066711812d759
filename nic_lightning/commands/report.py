"""`nic report`: the HTML page, and its R-D table in the terminal."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.report.html import write_report
from nic_lightning.report.text import rd_table
from nic_lightning.runs.index import find_runs
from nic_lightning.runs.results import read_results


def report(runs: list[Path], out: Path) -> None:
    """Write the page about `runs` to `out`; print the R-D table and where the page is."""
    write_report(runs, out)
    rows = []
    for run in find_runs(runs):
        results = run.folder / "results.parquet"
        rows += read_results(results) if results.is_file() else []
    print(rd_table(rows))
    print(f"\nReport: {out.resolve()}")
