"""Gather the runs of run.sh into measured.csv, bd_rate.csv, rate_distortion.png and the tables of README.md.

python experiments/slimcae_entropy_kodak_small/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.experiment import Experiment

PREFIX = "slimcae_entropy_kodak_small_"
EXPERIMENT = Experiment(
    home=Path(__file__).resolve().parent,
    anchor="slimmable",
    folders={
        "slimmable": PREFIX + "slimmable",
        "scalable": PREFIX + "scalable",
        "slimmable, hyperprior": PREFIX + "slimmable_hyperprior",
        "slimmable, context": PREFIX + "slimmable_context",
        "slimmable, context in serial order": PREFIX + "slimmable_context_serial",
        "jpeg": "jpeg",
    },
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
