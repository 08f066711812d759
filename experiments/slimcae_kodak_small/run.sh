#!/usr/bin/env bash
# Train, measure and gather everything that README.md shows. Finished runs are skipped, half-done ones continued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/ and photos/}"
export NIC_DATA
export OMP_NUM_THREADS=1 # one core for each queue
mkdir -p runs
. "$here/../two_queues.sh"

first_queue() {
    nic-train experiment=slimcae_kodak_small evaluation.lpips=true
    # The independent models have the widths and the lambdas of the scheduled one.
    python "$here/found_lambdas.py" runs/slimcae_kodak_small | while read -r width lambda; do
        nic-train experiment=slimcae_independent_kodak_small evaluation.lpips=true "codec.width=$width" "codec.lmbda=$lambda" \
            "run_dir=runs/slimcae_independent_kodak_small/width_$width" </dev/null
    done
    lambdas="$(python "$here/found_lambdas.py" runs/slimcae_kodak_small | cut -d" " -f2 | paste -sd,)"
    nic-train experiment=slimcae_naive_kodak_small evaluation.lpips=true name=slimcae_given_kodak_small "codec.lambdas=[$lambdas]"
    for gdn in switch slim; do
        nic-train experiment=slimcae_naive_kodak_small evaluation.lpips=true "name=slimcae_given_${gdn}_kodak_small" \
            "codec.lambdas=[$lambdas]" "codec.gdn=$gdn"
    done
}

second_queue() {
    nic-train experiment=slimcae_naive_kodak_small evaluation.lpips=true
    nic-train experiment=slimcae_kodak_small evaluation.lpips=true name=slimcae_switch_kodak_small codec.gdn=switch
    nic-evaluate codec=jpeg evaluation.lpips=true 'evaluation.datasets=[kodak]' evaluation.save_images=0
    nic-evaluate codec=webp evaluation.lpips=true 'evaluation.datasets=[kodak]' evaluation.save_images=0
}

in_two_queues slimcae_queue
python "$here/collect.py" runs
nic report runs/slimcae_* runs/jpeg runs/webp -o report.html
