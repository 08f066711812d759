"""Tables of a folder of experiments/ on optical flow, gathered from run folders into its CSV file and its README."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from nic_lightning.errors import UserError
from nic_lightning.metrics.flow_errors import MEASURES, averages
from nic_lightning.report.experiments.gathering import Gathering, read_csv, write_csv
from nic_lightning.report.page.flow import flow_rows, overall_density
from nic_lightning.runs.index.index import find_runs

Row = Mapping[str, Any]
COMPLETE = {
    "sintel_final": 1041,
    "sintel_clean": 1041,
    "kitti2012": 194,
    "kitti2015": 200,
    "middlebury": 6,
    "middlebury_gray": 6,
    "sintel_test_final": 552,
}
"""Images in the whole sets, as the published numbers count them."""
_SIX = frozenset({"Grove2", "Grove3", "Hydrangea", "RubberWhale", "Urban2", "Urban3"})
SCENES = {"middlebury": _SIX, "middlebury_gray": _SIX}
"""Those that published numbers are of (thesis, section 5.6.2), where a set has more."""
AVERAGES = {"pooled": "over pixels", "sequence": "over sequences", "image": "over images"}
"""Of `flow_errors.averages`, as headings."""


class Measure(NamedTuple):
    """A measured column."""

    key: str
    """In measured.csv."""
    heading: str
    column: str
    """Of the results table."""
    average: str
    """Of AVERAGES, for errors; densities are over pixels, times are medians of images."""

    def of(self, rows: Sequence[Row]) -> float | None:
        """Its value over rows, to four places."""
        if self.column in MEASURES:
            value = averages(rows, self.column)[self.average]
        elif self.column.startswith("density"):
            value = overall_density(rows, self.column)
        else:
            told = [row[self.column] for row in rows if row.get(self.column) is not None]
            value = statistics.median(told) if told else None  # the first image of a process compiles
        return None if value is None else round(value, 4)


@dataclass(frozen=True)
class FlowExperiment(Gathering):
    """Methods and stages on data sets: measured.csv, and a table of README.md with the published values beside.

    published.csv has the columns method, dataset and some of those of `columns`.
    """

    methods: Mapping[str, tuple[str, str]]
    """Name in the tables -> folder of the run in RUNS, and the stage."""
    columns: Mapping[str, str]
    """Column of the results table -> its heading."""
    averages: Sequence[str] = ("sequence",)
    """How errors are averaged, of AVERAGES; the first has the plain columns of measured.csv."""
    beside: Sequence[str] = ()
    """Data sets that are measured besides those of published.csv."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files into `out`; sentences about what is missing. Raises UserError when there are no results."""
        measured, notes = self.measure(runs)
        if not measured:
            raise UserError(f"{runs} holds no results yet. " + " ".join(notes))
        out.mkdir(parents=True, exist_ok=True)
        counts = ["images", "without_previous"]
        write_csv(out / "measured.csv", ["method", "dataset", *counts, *(each.key for each in self.measures)], measured)
        self.fill_readme(out, {"compared": self.table(measured, notes)})
        self.draw(measured, out)
        return notes

    def draw(self, measured: Sequence[Row], out: Path) -> None:
        """Pictures of what was measured, into `out`; an experiment that has some says how."""

    @cached_property
    def measures(self) -> list[Measure]:
        """What measured.csv holds, column by column."""
        errors = [(number, kind, column) for number, kind in enumerate(self.averages) for column in self.columns]
        found = []
        for number, kind, column in errors:
            if number and column not in MEASURES:  # densities and times have one mean
                continue
            how = AVERAGES[kind] if column in MEASURES and len(self.averages) > 1 else ""
            key = f"{column}_{how.replace(' ', '_')}" if number else column
            found.append(Measure(key, f"{self.columns[column]}, measured {how}".rstrip(), column, kind))
        return found

    def measure(self, runs: Path) -> tuple[list[dict[str, Any]], list[str]]:
        """Lines of measured.csv, and sentences about runs that are missing or not finished."""
        lines: list[dict[str, Any]] = []
        notes: list[str] = []
        for name in self.methods:
            rows, about = self.rows(runs, name)
            notes += about
            for dataset in dict.fromkeys(str(row["dataset"]) for row in rows):
                here = [row for row in rows if row["dataset"] == dataset]
                head = {"method": name, "dataset": dataset, "images": len(here)}
                head["without_previous"] = sum(row.get("frames") == 2 for row in here)
                lines.append(head | {each.key: each.of(here) for each in self.measures})
        return lines, notes

    def rows(self, runs: Path, method: str) -> tuple[list[Row], list[str]]:
        """Rows of a method's stage on the data sets shown, and sentences about what is missing or not finished."""
        folder, stage = self.methods[method]
        places = [place for place in (runs / folder, *sorted(runs.glob(f"*/{folder}"))) if place.is_dir()]
        rows: list[Row] = []
        notes = [] if places else [f"{method}: not run."]
        measured: dict[str, str] = {}
        for run in find_runs(places):
            own = [row for row in flow_rows(run.results()) if row["label"] == stage]
            for dataset in dict.fromkeys(str(row["dataset"]) for row in own):
                if measured.setdefault(dataset, run.name) != run.name:
                    raise UserError(f"{method}: both {measured[dataset]} and {run.name} hold results on {dataset}.")
            rows += own
            notes += [f"{method}: {run.state}."] if run.state != "finished" else []
        shown = {*self.beside, *(row["dataset"] for row in self.published())}
        rows = [row for row in rows if row["dataset"] in shown]
        return [row for row in rows if row.get("scene") in SCENES.get(str(row["dataset"]), {row.get("scene")})], notes

    def published(self) -> list[dict[str, str]]:
        """Lines of published.csv."""
        return read_csv(self.home / "published.csv")

    def table(self, measured: Sequence[Row], notes: Sequence[str]) -> str:
        """Markdown: a table for each data set, published and measured values of every method side by side."""
        published = self.published()
        parts = []
        for dataset in dict.fromkeys([row["dataset"] for row in published] + [row["dataset"] for row in measured]):
            theirs = {row["method"]: row for row in published if row["dataset"] == dataset}
            ours = {row["method"]: row for row in measured if row["dataset"] == dataset}
            parts += [self._heading(dataset, theirs, ours), *self._lines(theirs, ours), ""]
        return "\n".join([*parts, *(["Missing: " + " ".join(notes)] if notes else [])]).rstrip()

    def _heading(self, dataset: str, theirs: Mapping[str, Row], ours: Mapping[str, Row]) -> str:
        if not ours:
            return f"**{dataset}**: published on the whole set, not measured here.\n"
        counts = sorted({int(row["images"]) for row in ours.values()})
        whole = COMPLETE.get(dataset)
        of = f" of {whole:,}" if whole is not None else ""
        part = "the whole set" if counts == [whole] else f"{' to '.join(map(str, counts))}{of} images"
        two = max(int(row["without_previous"]) for row in ours.values())
        alone = f", {two} of them without a frame before" if two else ""
        alone = ", without a frame before: three frames are two" if counts == [two] else alone
        said = "published on the whole set" if theirs else "nothing published"
        return f"**{dataset}**: {said}, measured on {part}{alone}.\n"

    def _lines(self, theirs: Mapping[str, Row], ours: Mapping[str, Row]) -> list[str]:
        titles = [f"{title}, published" for title in self.columns.values()] if theirs else []
        titles += [each.heading for each in self.measures] if ours else []
        lines = [f"| method | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
        for name in dict.fromkeys([*theirs, *ours]):
            cells = [theirs.get(name, {}).get(column) or "-" for column in self.columns] if theirs else []
            values = [ours.get(name, {}).get(each.key) for each in self.measures] if ours else []
            cells += ["-" if value is None else f"{value:.{2 if value >= 1 else 4}f}" for value in values]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return lines
