"""Tables and figure of a folder of experiments/, gathered from run folders into its CSV files and its README."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import bd_rate
from nic_lightning.report.curves.comparison import compare
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.figures import rd_figure
from nic_lightning.report.experiments.gathering import Gathering, read_csv, write_csv
from nic_lightning.runs.index.index import Run, find_runs

POINTS = ("bpp", "bpp_estimated", "psnr", "ms_ssim_db", "lpips")
TIMES = ("encode_ms", "decode_ms")

Row = dict[str, Any]


@dataclass(frozen=True)
class Experiment(Gathering):
    """A comparison of runs: measured.csv, bd_rate.csv, rate_distortion.png and two tables of README.md.

    Published numbers, where there are any, lie in published.csv: method, lambda, bpp, psnr.
    """

    anchor: str
    """Name of the curve that BD-rates are computed against."""
    folders: Mapping[str, str]
    """Name in the tables -> folder of the run, or of the runs of a sweep, in RUNS."""
    dataset: str = "kodak"
    times: bool = False
    """Whether measured.csv has the milliseconds of encoder and decoder, too."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files into `out`; sentences about what is missing. Raises UserError when there are no results."""
        found, notes = self.read(runs)
        if not found:
            raise UserError(f"{runs} holds no results on {self.dataset} yet. " + " ".join(notes))
        shown = POINTS + TIMES * self.times
        measured = [row for name, curve in found.items() for row in point_rows(name, curve, shown)]
        compared = [self.bd_row(found, name) for name in found if name != self.anchor]
        out.mkdir(parents=True, exist_ok=True)
        write_csv(out / "measured.csv", ["codec", "point", *shown, "images"], measured)
        columns = ["codec", "anchor", "metric", "bd_rate", "overlap_low", "overlap_high", "overlap_fraction", "problem"]
        write_csv(out / "bd_rate.csv", columns, compared)
        rd_figure(list(found.values()), "psnr", out / "rate_distortion.png", self.dataset)
        parts = {"compared": self.comparison_table(compared, found), "measured": points_table(measured, notes)}
        self.fill_readme(out, parts)
        return notes

    def read(self, runs: Path) -> tuple[dict[str, Curve], list[str]]:
        """Curves by their name in the tables, and sentences about runs that are missing or not finished."""
        found: dict[str, Curve] = {}
        notes: list[str] = []
        for name, folder in self.folders.items():
            if not (runs / folder).is_dir():
                notes.append(f"{name}: not run.")
                continue
            parts = find_runs([runs / folder])
            notes += [f"{run.name}: {run.state}." for run in parts if run.state != "finished"]
            made = curves(row for run in parts for row in self.rows_of(run))
            notes += [problem for run in parts for problem in run.problems]
            if len(made) > 1:
                raise UserError(f"{runs / folder} holds {len(made)} curves on {self.dataset}; one is expected.")
            if made:
                made[0].name = name
                found[name] = made[0]
        return found, notes

    def rows_of(self, run: Run) -> list[Row]:
        """Results on the data set."""
        return [row for row in run.results() if row["dataset"] == self.dataset]

    def bd_row(self, found: Mapping[str, Curve], name: str) -> Row:
        """BD-rate over PSNR against the anchor, or the sentence why there is none."""
        row: Row = {"codec": name, "anchor": self.anchor, "metric": "psnr"}
        if self.anchor not in found:
            return row | {"problem": f"The anchor, {self.anchor}, is not measured yet."}
        comparison = compare(found[self.anchor], found[name], "psnr")
        if comparison.result is None:
            return row | {"problem": comparison.problem}
        result = comparison.result
        low, high = result.overlap
        return row | {
            "bd_rate": round(result.value, 2),
            "overlap_low": round(low, 3),
            "overlap_high": round(high, 3),
            "overlap_fraction": round(result.overlap_fraction, 3),
        }

    def comparison_table(self, compared: Iterable[Row], found: Mapping[str, Curve]) -> str:
        """Markdown: published and measured BD-rate and range of rates of every codec, the anchor first."""
        published = self.published_curves()
        lines = [
            "| codec | BD-rate, published | BD-rate, measured | PSNR in common | rates, published | rates, measured |",
            "|---|---|---|---|---|---|",
        ]
        for row in [{"codec": self.anchor}, *compared]:
            name = row["codec"]
            theirs = published.get(name, [])
            if name == self.anchor:
                rates = ["anchor", "anchor" if name in found else "not run"]
            else:
                known = theirs and self.anchor in published
                rates = [percent(bd_rate(published[self.anchor], theirs).value) if known else "-"]
                rates.append(percent(row["bd_rate"]) if "bd_rate" in row else f"none: {row['problem']}")
            overlap = f"{row['overlap_low']:.2f} … {row['overlap_high']:.2f} dB" if "overlap_low" in row else "-"
            ours = found[name].points if name in found else []
            lines.append(f"| {name} | {' | '.join(rates)} | {overlap} | {span(theirs)} | {span(ours)} |")
        return "\n".join(lines)

    def published_curves(self) -> dict[str, list[Row]]:
        """Published points by codec; empty without published.csv."""
        made: dict[str, list[Row]] = {}
        if not (self.home / "published.csv").exists():
            return made
        for row in read_csv(self.home / "published.csv"):
            point = {"label": row["lambda"], "bpp": float(row["bpp"]), "psnr": float(row["psnr"])}
            made.setdefault(row["method"], []).append(point)
        return made


def point_rows(name: str, curve: Curve, columns: Sequence[str] = POINTS) -> list[Row]:
    """Lines of measured.csv: means over images."""
    return [
        {"codec": name, "point": point["label"], "images": point["images"]}
        | {key: None if point[key] is None else round(point[key], 4) for key in columns}
        for point in curve.points
    ]


def points_table(measured: Iterable[Row], notes: Sequence[str]) -> str:
    """Markdown: every operating point, means over images, then what is missing."""
    lines = [
        "| codec | point | bpp | estimated | PSNR | MS-SSIM | LPIPS | images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    formats = dict(zip(POINTS, ("{:.4f}", "{:.4f}", "{:.2f} dB", "{:.2f} dB", "{:.4f}"), strict=True))
    for row in measured:
        cells = ["-" if row[key] is None else form.format(row[key]) for key, form in formats.items()]
        lines.append(f"| {row['codec']} | {row['point']} | {' | '.join(cells)} | {row['images']} |")
    return "\n".join([*lines, *(["", "Missing: " + " ".join(notes)] if notes else [])])


def percent(value: float) -> str:
    """A BD-rate with its sign."""
    return f"{value:+.1f} %"


def span(points: Sequence[Mapping[str, Any]]) -> str:
    """From the lowest rate to the highest."""
    rates = [point["bpp"] for point in points]
    return f"{min(rates):.3f} … {max(rates):.3f} bpp" if rates else "-"
