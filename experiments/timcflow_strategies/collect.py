"""Gather the runs of experiments/timcflow.sh into measured.csv and the table of README.md.

python experiments/timcflow_strategies/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.flow_experiment import FlowExperiment

EXPERIMENT = FlowExperiment(
    home=Path(__file__).resolve().parent,
    methods={
        "DCFlow (two frames)": ("dcflow", "kept"),
        "strategy 1": ("strategy1", "kept"),
        "strategy 2": ("strategy2", "kept"),
        "strategy 3": ("timcflow", "kept"),
        "strategy 4": ("strategy4", "kept"),
    },
    columns={
        "epe_all": "all",
        "epe_noc": "noc",
        "epe_occ": "occ",
        "density": "density %",
        "density_occ": "of occluded %",
    },
    averages=("pooled", "sequence"),
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
