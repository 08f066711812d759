"""Gather what `nic amortisation` measured into measured.csv, gains.png and the tables of README.md.

RUNS holds the run of run.sh, which has all points, or those of published.sh, with one point each.

python experiments/encoding_distributions/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import BdError, bd_rate_of_values
from nic_lightning.report.curves.amortisation import gain_figure
from nic_lightning.report.experiments.gathering import Gathering, read_csv, write_csv

HERE = Path(__file__).resolve().parent
RUN = "encoding_distributions_small"
POINTS = "amortisation/points.csv"
WAYS = {
    "adapted": "adapted tables",
    "gaussian": "Gaussians",
    "backward": "backward adaptation",
    "ideal": "ideal",
}
KEPT = ("label", "images", "psnr", "rest", "static", *WAYS, "gap", "side")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Gap(Gathering):
    """Rates that one run's tables lose and win back, beside the published ones."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write measured.csv, gains.png and the tables; raises UserError where nothing was measured."""
        own = runs / RUN / POINTS
        paths = [own] if own.exists() else sorted(runs.glob(f"*/{POINTS}"))
        if not paths:
            raise UserError(f"There is no {own}: run nic amortisation {runs / RUN} first.")
        rows = [{key: row[key] for key in KEPT} for path in paths for row in read_csv(path)]
        rows.sort(key=lambda row: float(row["static"]))
        out.mkdir(parents=True, exist_ok=True)
        write_csv(out / "measured.csv", KEPT, rows)
        numbers = [{k: float(v) if v and k != "label" else v or None for k, v in row.items()} for row in rows]
        gain_figure(numbers, out / "gains.png")
        parts = {"compared": compared(rows, read_csv(HERE / "published.csv")), "measured": points(rows)}
        self.fill_readme(out, parts)
        missing = [name for way, name in WAYS.items() if not rows[0][way]]
        return [f"{name}: not measured." for name in missing]


def compared(measured: Sequence[Row], published: Sequence[Row]) -> str:
    """Markdown: BD-rates over PSNR against static tables, estimated rates, published beside measured."""
    lines = ["| tables | BD-rate, published, Kodak | BD-rate, measured, small scale |", "|---|---|---|"]
    for way, name in WAYS.items():
        lines.append(f"| {name} | {_delta(published, way)} | {_delta(measured, way)} |")
    return "\n".join(lines)


def points(rows: Sequence[Row]) -> str:
    """Markdown: rates at every operating point."""
    names = ["point", "PSNR", "static", *WAYS.values(), "gap", "side information"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        rates = [_cell(row[way], "{:.4f}") for way in ("static", *WAYS)]
        shares = [_cell(row[key], "{:.1f} %") for key in ("gap", "side")]
        lines.append("| " + " | ".join([row["label"], _cell(row["psnr"], "{:.2f} dB"), *rates, *shares]) + " |")
    return "\n".join(lines)


def _cell(text: str, form: str) -> str:
    return form.format(float(text)) if text else "-"


def _delta(rows: Sequence[Row], way: str) -> str:
    both = [row for row in rows if row.get(way)]
    rates, tests, psnr = ([float(row[key]) for row in both] for key in ("static", way, "psnr")) if both else ([],) * 3
    try:
        return f"{bd_rate_of_values(rates, psnr, tests, psnr):+.2f} %"
    except BdError:
        return "-"


if __name__ == "__main__":
    sys.exit(Gap(HERE).main())
