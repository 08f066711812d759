#!/usr/bin/env bash
# Train, measure and gather everything that README.md shows. Finished runs are skipped, half-done ones continued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/ and photos/}"
export NIC_DATA
export OMP_NUM_THREADS=1

nic-train experiment=slimcae_long_kodak_small evaluation.lpips=true
# The independent models have the widths and the lambdas of the scheduled one.
python "$here/../slimcae_kodak_small/found_lambdas.py" runs/slimcae_long_kodak_small | while read -r width lambda; do
    nic-train experiment=slimcae_independent_long_kodak_small evaluation.lpips=true "codec.width=$width" "codec.lmbda=$lambda" \
        "run_dir=runs/slimcae_independent_long_kodak_small/width_$width" </dev/null
done
lambdas="$(python "$here/../slimcae_kodak_small/found_lambdas.py" runs/slimcae_long_kodak_small | cut -d" " -f2 | paste -sd,)"
nic-train experiment=slimcae_naive_kodak_small evaluation.lpips=true name=slimcae_given_switch_long_kodak_small codec.gdn=switch \
    "codec.lambdas=[$lambdas]" 'task.halve_at=[5000,5600,6000,16000,18500]' trainer.max_steps=20000
python "$here/collect.py" runs
