"""Tables of a folder of experiments/ on optical flow, gathered from run folders into its CSV file and its README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.metrics.flow_errors import MEASURES, averages
from nic_lightning.report.flow import flow_rows, overall_density
from nic_lightning.report.gathering import Gathering, read_csv, write_csv
from nic_lightning.runs.index import find_runs
from nic_lightning.runs.results import mean

Row = Mapping[str, Any]
COMPLETE = {"sintel_final": 1041, "sintel_clean": 1041, "kitti2012": 194, "kitti2015": 200, "middlebury": 6}
"""Images in the whole sets, as the published numbers count them."""


@dataclass(frozen=True)
class FlowExperiment(Gathering):
    """Methods and stages on data sets: measured.csv, and a table of README.md with the published values beside.

    published.csv has the columns method, dataset and some of those of `columns`.
    """

    methods: Mapping[str, tuple[str, str]]
    """Name in the tables -> folder of the run in RUNS, and the stage."""
    columns: Mapping[str, str]
    """Column of the results table -> its heading."""
    average: str = "sequence"
    """Of `flow_errors.averages`."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files into `out`; sentences about what is missing. Raises UserError when there are no results."""
        measured, notes = self.measure(runs)
        if not measured:
            raise UserError(f"{runs} holds no results yet. " + " ".join(notes))
        out.mkdir(parents=True, exist_ok=True)
        write_csv(out / "measured.csv", ["method", "dataset", "images", *self.columns], measured)
        self.fill_readme(out, {"compared": self.table(measured, notes)})
        return notes

    def measure(self, runs: Path) -> tuple[list[dict[str, Any]], list[str]]:
        """Lines of measured.csv, and sentences about runs that are missing or not finished."""
        lines: list[dict[str, Any]] = []
        notes: list[str] = []
        for name, (folder, stage) in self.methods.items():
            places = [place for place in (runs / folder, *sorted(runs.glob(f"*/{folder}"))) if place.is_dir()]
            if not places:
                notes.append(f"{name}: not run.")
                continue
            rows = []
            for run in find_runs(places):
                rows += [row for row in flow_rows(run.results()) if row["label"] == stage]
                notes += [f"{name}: {run.state}."] if run.state != "finished" else []
            for dataset in dict.fromkeys(str(row["dataset"]) for row in rows):
                here = [row for row in rows if row["dataset"] == dataset]
                values = {column: _rounded(self.value(here, column)) for column in self.columns}
                lines.append({"method": name, "dataset": dataset, "images": len(here)} | values)
        return lines, notes

    def value(self, rows: Sequence[Row], column: str) -> float | None:
        """A column's mean: errors by `average`, densities over pixels, times over images."""
        if column in MEASURES:
            return averages(rows, column)[self.average]
        if column.startswith("density"):
            return overall_density(rows, column)
        return mean(row.get(column) for row in rows)

    def table(self, measured: Sequence[Row], notes: Sequence[str]) -> str:
        """Markdown: a table for each data set, published and measured values of every method side by side."""
        published = read_csv(self.home / "published.csv")
        parts = []
        for dataset in dict.fromkeys([row["dataset"] for row in published] + [row["dataset"] for row in measured]):
            theirs = {row["method"]: row for row in published if row["dataset"] == dataset}
            ours = {row["method"]: row for row in measured if row["dataset"] == dataset}
            parts += [self._heading(dataset, ours), *self._lines(theirs, ours), ""]
        return "\n".join([*parts, *(["Missing: " + " ".join(notes)] if notes else [])]).rstrip()

    def _heading(self, dataset: str, ours: Mapping[str, Row]) -> str:
        if not ours:
            return f"**{dataset}**: not measured here.\n"
        counts = sorted({int(row["images"]) for row in ours.values()})
        whole = COMPLETE.get(dataset)
        of = f" of {whole:,}" if whole is not None else ""
        part = "the whole set" if counts == [whole] else f"{' to '.join(map(str, counts))}{of} images"
        return f"**{dataset}**: published on the whole set, measured on {part}.\n"

    def _lines(self, theirs: Mapping[str, Row], ours: Mapping[str, Row]) -> list[str]:
        titles = [f"{title}, {kind}" for kind in ("published", "measured") for title in self.columns.values()]
        lines = [f"| method | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
        for name in dict.fromkeys([*theirs, *ours]):
            cells = [theirs.get(name, {}).get(column) or "-" for column in self.columns]
            values = [ours.get(name, {}).get(column) for column in self.columns]
            cells += ["-" if value is None else f"{value:.2f}" for value in values]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return lines


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
