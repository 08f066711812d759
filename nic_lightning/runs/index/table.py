"""The results of runs as one pandas table, for programs and notebooks. No torch needed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import about_links, find_runs
from nic_lightning.runs.record.results import RESULT_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

_DTYPES = {"string": "string", "int64": "Int64", "double": "float64"}
"""Of pandas, by the types of RESULT_COLUMNS; those of text and whole numbers know missing values."""


def results(folder: str | Path) -> DataFrame:
    """Table of all results at or below a folder: one row for each image (or frame) and operating point of each run.

    The columns are those of `runs.record.results.RESULT_COLUMNS` and what else the runs have written: rates are bits
    per pixel, PSNR and MS-SSIM dB, "run" the name of the run. What is missing is NaN or NA. A run that is damaged is
    left out, with a UserWarning that says why.

    Raises:
        RunError: the folder does not exist, or no run in it holds results.
    """
    import pandas as pd

    runs = find_runs([folder])
    others = {problem for run in runs for problem in run.problems}  # a config that is missing, say
    rows = [row for run in runs for row in run.results()]
    for problem in (problem for run in runs for problem in run.problems if problem not in others):
        warnings.warn(problem, stacklevel=2)
    if not rows:
        links = " ".join(["", *about_links([folder])])
        raise RunError(f"No run at or below {folder} holds results; nic-evaluate writes them.{links}")
    table = pd.DataFrame(rows)
    return table.astype({name: _DTYPES[kind] for name, kind in RESULT_COLUMNS.items()})
