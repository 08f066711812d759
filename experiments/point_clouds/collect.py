"""Gather what point-cloud runs measured into measured.csv and the table of README.md.

python experiments/point_clouds/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import yaml

from nic_lightning.errors import UserError
from nic_lightning.report.experiments.gathering import Gathering, write_csv

HERE = Path(__file__).resolve().parent
MEASURES = ("bits_in_stream", "bits_as_file", "bits_estimated", "accuracy")
COLUMNS = ("size", "lambda", "seed", "clouds", *MEASURES)


@dataclass(frozen=True)
class Clouds(Gathering):
    """Accuracy over bits of runs that have one size, lambda and seed each."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write measured.csv and the table; raises UserError where no run is finished."""
        rows = [_row(path.parent) for path in runs.glob("*/status.json") if _finished(path)]
        if not rows:
            raise UserError(f"{runs} has no finished run: train some as README.md tells.")
        rows.sort(key=lambda row: [row[key] for key in COLUMNS[:3]])
        out.mkdir(parents=True, exist_ok=True)
        write_csv(out / "measured.csv", COLUMNS, rows)
        self.fill_readme(out, {"table": _table(rows)})
        return []


def _finished(status: Path) -> bool:
    return json.loads(status.read_text(encoding="utf-8"))["state"] == "finished"


def _row(run: Path) -> dict[str, Any]:
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    table = pd.read_parquet(run / "results.parquet")
    bits, size, estimated, accuracy = (
        fmean(table[key].tolist()) for key in ("bits", "bytes", "bits_estimated", "accuracy")
    )
    names = (config["codec"]["size"], config["codec"]["lmbda"], config["seed"], len(table))
    return dict(zip(COLUMNS, [*names, *(round(m, 4) for m in (bits, 8 * size, estimated, accuracy))], strict=True))


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| size | lambda | runs | in a stream | a file | estimated | accuracy |", "|---|---|---|---|---|---|---|"]
    for (size, lmbda), group in groupby(rows, key=lambda row: (row["size"], row["lambda"])):
        runs = list(group)
        cells = [_spread([run[key] for run in runs], 3 if key == "accuracy" else 1) for key in MEASURES]
        lines.append(f"| {size} | {lmbda:g} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float], digits: int) -> str:
    told = f"{fmean(values):.{digits}f}"
    return f"{told} ± {stdev(values):.{digits}f}" if len(values) > 1 else told


if __name__ == "__main__":
    sys.exit(Clouds(HERE).main())
