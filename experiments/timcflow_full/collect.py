"""Gather the runs of experiments/timcflow.sh into measured.csv and the table of README.md.

python experiments/timcflow_full/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.flow_experiment import FlowExperiment

EXPERIMENT = FlowExperiment(
    home=Path(__file__).resolve().parent,
    methods={
        "DCFlow (two frames), interpolated here": ("dcflow", "dense"),
        "strategy 1, interpolated here": ("strategy1", "dense"),
        "strategy 2, interpolated here": ("strategy2", "dense"),
        "strategy 3, interpolated here": ("timcflow", "dense"),
        "strategy 4, interpolated here": ("strategy4", "dense"),
        "DCFlow (two frames), refined here": ("dcflow", "flow"),
        "strategy 1, refined here": ("strategy1", "flow"),
        "strategy 2, refined here": ("strategy2", "flow"),
        "strategy 3, refined here": ("timcflow", "flow"),
        "strategy 4, refined here": ("strategy4", "flow"),
    },
    columns={"epe_all": "all", "epe_noc": "noc", "epe_occ": "occ"},
    averages=("pooled", "sequence"),
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
