"""Gather the runs of experiments/timcflow.sh into measured.csv and the tables of README.md.

python experiments/timcflow_wta/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.metrics.flow_errors import averages
from nic_lightning.report.experiments.flow_experiment import FlowExperiment
from nic_lightning.report.experiments.gathering import read_csv, write_csv

COLUMNS = {"epe_all": "all", "epe_noc": "noc", "epe_occ": "occ"}
FRAMES = {"two frames": "2", "three frames": "3"}


class Sequences(FlowExperiment):
    """With a line for each sequence besides, in measured_sequences.csv."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write all files into `out`."""
        notes = super().collect(runs, out)
        lines: dict[str, dict[str, str]] = {}
        for method, frames in FRAMES.items():
            scenes: dict[str, list] = {}
            for row in self.rows(runs, method)[0]:
                scenes.setdefault(str(row["scene"]), []).append(row)
            for scene, rows in scenes.items():
                line = lines.setdefault(scene, {"sequence": scene.replace("_", "-"), "pairs": str(len(rows))})
                for column, title in COLUMNS.items():
                    value = averages(rows, column)["pooled"]
                    line[title + frames] = "" if value is None else f"{value:.3g}"
        columns = ["sequence", "pairs", *(title + frames for title in COLUMNS.values() for frames in "32")]
        write_csv(out / "measured_sequences.csv", columns, lines.values())
        self.fill_readme(out, {"sequences": self.sequences_table(out)})
        return notes

    def sequences_table(self, folder: Path) -> str:
        """Markdown: measured_sequences.csv with the thesis' lines beside."""
        published = {line["sequence"]: line for line in read_csv(self.home / "sequences.csv")}
        cells = [title + frames for title in COLUMNS.values() for frames in FRAMES.values()]
        titles = [
            f"{title}, {method}, {kind}"
            for title in COLUMNS.values()
            for method in FRAMES
            for kind in ("published", "measured")
        ]
        table = [f"| sequence | pairs | {' | '.join(titles)} |", "|---" * (2 + len(titles)) + "|"]
        for line in read_csv(folder / "measured_sequences.csv"):
            theirs = published.get(line["sequence"], {})
            values = [row.get(cell) or "-" for cell in cells for row in (theirs, line)]
            pairs = f"{line['pairs']} of {theirs.get('pairs', '?')}"
            table.append(f"| {line['sequence']} | {pairs} | {' | '.join(values)} |")
        return "\n".join(table)


EXPERIMENT = Sequences(
    home=Path(__file__).resolve().parent,
    methods={
        "two frames": ("wta_two", "flow"),
        "three frames": ("wta_three", "flow"),
    },
    columns=COLUMNS,
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
