"""Gather the runs of run.sh into measured.csv, bd_rate.csv, rate_distortion.png and the tables of README.md.

python experiments/variable_rate_kodak_small/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    home=Path(__file__).resolve().parent,
    anchor="independent",
    folders={
        "independent": "independent_kodak_small",
        "slimmable": "slimcae_long_kodak_small",
        "modulated": "modulated_kodak_small",
        "conditional": "conditional_kodak_small",
        "bottleneck_scaling": "bottleneck_scaling_kodak_small",
    },
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
