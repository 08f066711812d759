"""`nic results`: the curves of runs as JSON or CSV for others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from nic_lightning.commands.options import Out, Overwrite, Runs
from nic_lightning.errors import UserError
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curve_writer import write_curves
from nic_lightning.report.curves.curves import curves, datasets
from nic_lightning.runs.index.index import about_links, find_runs


def results(
    runs: Runs,
    /,
    *,
    out: Out,
    form: Annotated[Literal["json", "csv"], Parameter(name="--format")] = "json",
    dataset: Annotated[str | None, Parameter(metavar="NAME")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the rate-distortion curves of runs, means over images, a file each.

    They are in the schema of CompressAI's published results; nic bd --published reads them.

    Args:
        runs: run folder, or a folder of runs
        out: folder to write into
        form: of the files
        dataset: only this data set
        overwrite: replace files that exist

    Examples:
        nic results runs -o curves --format csv
    """
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
