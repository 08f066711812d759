"""Gather the runs of experiments/timcflow.sh into measured.csv and the table of README.md.

python experiments/timcflow_time/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nic_lightning.report.experiments.flow_experiment import FlowExperiment

PARTS = {
    "_features": "features",
    "_cost_volume": "cost volume",
    "_filter": "filter of the cost volume",
    "_semi_global_matching": "optimisation",
    "_interpolation": "interpolation",
    "_refinement": "refinement",
    "": "all",
}
KINDS = {"core": "processor", "time": "clock"}


class Times(FlowExperiment):
    """Parts down, methods across; of what was measured, the seconds of the processor."""

    def _lines(self, theirs: Mapping[str, Mapping[str, Any]], ours: Mapping[str, Mapping[str, Any]]) -> list[str]:
        kinds = ("published, GPU, by the clock", "measured, CPU, core seconds")
        titles = [f"{name}, {kind}" for name in self.methods for kind in kinds]
        lines = [f"| seconds | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
        for part, title in PARTS.items():
            cells: list[str] = []
            for name in self.methods:
                value = ours.get(name, {}).get(f"core{part}")
                cells += [theirs.get(name, {}).get(f"time{part}") or "-", f"{value:.2f}" if value else "-"]
            lines.append(f"| {title} | {' | '.join(cells)} |")
        return lines


EXPERIMENT = Times(
    home=Path(__file__).resolve().parent,
    methods={
        "two frames": ("dcflow", "flow"),
        "three frames": ("timcflow", "flow"),
        "simplified": ("simplified", "flow"),
    },
    columns={kind + part: f"{title}, {KINDS[kind]}" for kind in KINDS for part, title in PARTS.items()},
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
