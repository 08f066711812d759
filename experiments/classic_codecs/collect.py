"""Gather the runs of run.sh into measured.csv, bd_rate.csv, rate_distortion.png and the tables of README.md.

python experiments/classic_codecs/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from nic_lightning.metrics.bd import bd_rate
from nic_lightning.report.curves.curve import Curve, empty_point
from nic_lightning.report.curves.figures import rd_figure
from nic_lightning.report.experiments.experiment import Experiment, percent
from nic_lightning.report.experiments.gathering import fill, read_csv

COUNTERPARTS = {
    "jpeg": "jpeg",
    "jpeg2000": "jpeg2000",
    "webp": "webp",
    "webp_best": "webp",
    "avif_444": "av1",
    "avif": "av1",
    "hevc_444": "bpg",
    "hevc": "bpg",
    "bpg": "bpg",
    "vtm": "vtm",
}
"""Measured curve -> the published one to hold it against."""
NAMES = (
    "jpeg",
    "jpeg_444",
    "jpeg2000",
    "webp",
    "webp_best",
    "avif",
    "avif_444",
    "hevc",
    "hevc_444",
    "jpegxl",
    "bpg",
    "vtm",
)
MAX_RATE = 2.0
"""The figure ends here, in bits per pixel."""


@dataclass(frozen=True)
class ClassicCodecs(Experiment):
    """The same tables, each measured curve against its published counterpart, and both kinds in one figure."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        notes = super().collect(runs, out)
        found, _ = self.read(runs)
        fill(out / "README.md", {"counterparts": self.counterparts(found), "times": times(out)})
        theirs = [
            replace(
                Curve(f"{name} (published)", self.dataset, name, None, [], False),
                published=True,
                points=[empty_point() | p for p in points],
            )
            for name, points in self.published_curves().items()
        ]
        drawn = [replace(c, points=[p for p in c.points if p["bpp"] <= MAX_RATE]) for c in [*found.values(), *theirs]]
        rd_figure(drawn, "psnr", out / "rate_distortion.png", self.dataset)
        return notes

    def counterparts(self, found: dict[str, Curve]) -> str:
        published = self.published_curves()
        lines = ["| measured | published | BD-rate of measured | PSNR in common |", "|---|---|---|---|"]
        for ours, theirs in COUNTERPARTS.items():
            if ours in found:
                result = bd_rate(published[theirs], found[ours].points)
                low, high = result.overlap
                lines.append(f"| {ours} | {theirs} | {percent(result.value)} | {low:.2f} … {high:.2f} dB |")
        return "\n".join(lines)


def times(out: Path) -> str:
    """Markdown of processor_time.csv."""
    if not (out / "processor_time.csv").exists():
        return "Not measured."
    lines = ["| codec | point | bpp | encode, processor ms | decode, processor ms |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row.values())} |" for row in read_csv(out / "processor_time.csv"))])


EXPERIMENT = ClassicCodecs(
    home=Path(__file__).resolve().parent,
    anchor="jpeg",
    folders={name: name for name in NAMES},
    times=True,
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
