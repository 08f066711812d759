"""Gather the runs of run.sh into measured.csv, bd_rate.csv, rate_distortion.png and the tables of README.md.

python experiments/slimcae_kodak_small/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from nic_lightning.report.experiments.experiment import Experiment

EXPERIMENT = Experiment(
    home=Path(__file__).resolve().parent,
    anchor="independent",
    folders={
        "independent": "slimcae_independent_kodak_small",
        "scheduled, SlimGDN+": "slimcae_kodak_small",
        "scheduled, SwitchGDN": "slimcae_switch_kodak_small",
        "given, SlimGDN+": "slimcae_given_kodak_small",
        "given, SwitchGDN": "slimcae_given_switch_kodak_small",
        "given, SlimGDN": "slimcae_given_slim_kodak_small",
        "naive, SlimGDN+": "slimcae_naive_kodak_small",
        "jpeg": "jpeg",
        "webp": "webp",
    },
)

if __name__ == "__main__":
    sys.exit(EXPERIMENT.main())
