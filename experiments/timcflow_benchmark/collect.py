"""Gather the runs of experiments/timcflow.sh into measured.csv and the table of README.md.

python experiments/timcflow_benchmark/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.flow_experiment import FlowExperiment

EXPERIMENT = FlowExperiment(
    home=Path(__file__).resolve().parent,
    methods={
        "DCFlow's pipeline, here": ("dcflow", "flow"),
        "TIMCflow's pipeline, here": ("timcflow", "flow"),
        "simplified pipeline, here": ("simplified", "flow"),
        "OpenCV's DIS, medium": ("dis_medium", "flow"),
        "OpenCV's Farneback": ("farneback", "flow"),
        "OpenCV's DeepFlow": ("deepflow", "flow"),
    },
    columns={
        "epe_all": "all",
        "epe_noc": "noc",
        "epe_occ": "occ",
        "d0_10": "d0-10",
        "d10_60": "d10-60",
        "d60_140": "d60-140",
        "s0_10": "s0-10",
        "s10_40": "s10-40",
        "s40": "s40+",
    },
    averages=("pooled",),
    beside=("sintel_final",),
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
