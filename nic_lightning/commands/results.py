"""`nic results`: the curves of runs as files that others can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curve_writer import write_curves
from nic_lightning.report.curves.curves import curves, datasets
from nic_lightning.runs.index.index import about_links, find_runs


def results(runs: Sequence[Path], out: Path, form: str, dataset: str | None, overwrite: bool) -> None:
    """Write each curve of the runs to a file in `out`, and print where it is."""
    made = measured_curves(runs, dataset)
    if not made:
        raise UserError("No run holds results; nic-evaluate writes them.")
    for path in write_curves(made, out, form, overwrite):
        print(path)


def measured_curves(runs: Sequence[Path], dataset: str | None) -> list[Curve]:
    """Curves of the runs, on one data set or on all; results that cannot be read are reported on stderr."""
    for sentence in about_links(runs):
        print(sentence, file=sys.stderr)
    rows: list[dict[str, Any]] = []
    for run in find_runs(runs):
        known = len(run.problems)
        rows += run.results()
        for problem in run.problems[known:]:
            print(problem, file=sys.stderr)
    made = curves(rows)
    if dataset is not None and made and dataset not in datasets(made):
        raise UserError(f"No run was measured on {dataset}; there are results on {', '.join(datasets(made))}.")
    return [curve for curve in made if dataset in (None, curve.dataset)]
