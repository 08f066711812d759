"""Gather the runs of experiments/timcflow.sh into measured.csv and the table of README.md.

python experiments/timcflow_time/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.flow_experiment import FlowExperiment

EXPERIMENT = FlowExperiment(
    home=Path(__file__).resolve().parent,
    methods={
        "two frames": ("dcflow", "flow"),
        "three frames": ("timcflow", "flow"),
        "simplified": ("simplified", "flow"),
    },
    columns={
        "time_features": "features",
        "time_cost_volume": "cost volume",
        "time_filter": "filter",
        "time_semi_global_matching": "optimisation",
        "time_interpolation": "interpolation",
        "time_refinement": "refinement",
        "time": "all",
    },
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
