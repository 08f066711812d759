"""Gather the runs of run.sh into measured.csv, bd_rate.csv, rate_distortion.png and the tables of README.md.

python experiments/capacity_kodak_small/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.saturation import lambdas_from_rows
from nic_lightning.report.experiments.experiment import Experiment, Row
from nic_lightning.report.experiments.gathering import fill
from nic_lightning.runs.index.index import find_runs

SWEEP, WIDTHS = "capacity_kodak_small", (12, 24, 48)


class Capacity(Experiment):
    """A curve for each width of a sweep over widths and lambdas, beside the runs of `folders`."""

    def read(self, runs: Path) -> tuple[dict[str, Curve], list[str]]:
        """Curves by their name in the tables, and sentences about runs that are missing or not finished."""
        rows, notes = self.sweep(runs)
        found: dict[str, Curve] = {}
        for width in WIDTHS:
            for curve in curves(row for row in rows if row["width"] == width):
                curve.name = f"width {width}"
                found[curve.name] = curve
        others, more = super().read(runs)
        return found | others, notes + more

    def sweep(self, runs: Path) -> tuple[list[Row], list[str]]:
        """Rows of the sweep's results, and sentences about its jobs that are not finished."""
        if not (runs / SWEEP).is_dir():
            return [], [f"{SWEEP}: not run."]
        jobs = find_runs([runs / SWEEP])
        notes = [f"{run.name}: {run.state}." for run in jobs if run.state != "finished"]
        return [row for run in jobs for row in self.rows_of(run)], notes

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files, and the table of the lambdas at which widths saturate."""
        notes = super().collect(runs, out)
        try:
            found = lambdas_from_rows(self.sweep(runs)[0])
        except UserError as error:
            fill(out / "README.md", {"lambdas": str(error)})
            return [*notes, str(error)]
        lines = ["| width | keeps up to | lambda there |", "|---|---|---|"]
        lines += [f"| {one.width} | {one.bpp:.3f} bpp | {one.lmbda:.1f} |" for one in found]
        told = [f"\n{one.note[0].upper()}{one.note[1:]}." for one in found if one.note]
        fill(out / "README.md", {"lambdas": "\n".join([*lines, *told])})
        return notes


EXPERIMENT = Capacity(
    home=Path(__file__).resolve().parent,
    anchor=f"width {WIDTHS[-1]}",
    folders={"SlimCAE, one lambda": "capacity_shared_kodak_small"},
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
