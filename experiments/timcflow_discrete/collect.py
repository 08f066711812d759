"""Gather the runs of experiments/timcflow.sh into measured.csv and the table of README.md.

python experiments/timcflow_discrete/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.flow_experiment import FlowExperiment

EXPERIMENT = FlowExperiment(
    home=Path(__file__).resolve().parent,
    methods={
        "two frames": ("dcflow", "labels"),
        "three frames": ("timcflow", "labels"),
        "three frames +": ("simplified", "labels"),
        "three frames ++": ("simplified", "flow"),
    },
    columns={"epe_all": "all", "epe_noc": "noc", "epe_occ": "occ"},
    averages=("pooled", "sequence"),
    beside=("kitti2012", "middlebury_gray"),
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
