"""`nic lambdas`: what a sweep of independent models says about the lambdas of a slimmable codec."""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.report.curves.saturation import lambdas_from_rows
from nic_lightning.runs.index.index import find_runs


def lambdas(runs: list[Path], dataset: str | None, tolerance: float) -> None:
    """Print the override that gives codec=slimmable the lambdas at which each width of the sweep saturates."""
    rows = [row for run in find_runs(runs) for row in run.results() if row.get("width") and row.get("lmbda")]
    sets = list(dict.fromkeys(str(row["dataset"]) for row in rows))
    if not sets:
        raise UserError("These runs hold no results of models of one width and lambda each, such as codec=cae.")
    if dataset is None and len(sets) > 1:
        raise UserError(f"The runs were measured on {', '.join(sets)}; choose one with --dataset.")
    chosen = dataset or sets[0]
    if chosen not in sets:
        raise UserError(f"No model with a width was measured on {chosen}; there are: {', '.join(sets)}.")
    found = lambdas_from_rows([row for row in rows if row["dataset"] == chosen], tolerance)
    for one in found:
        print(f"width {one.width:>4}: lambda {one.lmbda:10.4g} at {one.bpp:.4f} bpp")
    for note in (one.note for one in found if one.note):
        print(f"Note: {note}.", file=sys.stderr)
    widths = ",".join(str(one.width) for one in found)
    print(f"'codec.widths=[{widths}]' 'codec.lambdas=[{','.join(f'{one.lmbda:.5g}' for one in found)}]'")
