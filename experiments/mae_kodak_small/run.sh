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
    nic-train -m experiment=independent_kodak_small evaluation.lpips=true codec.lmbda=512,256,128,64
    nic-train experiment=bottleneck_scaling_kodak_small evaluation.lpips=true
}

second_queue() {
    nic-train experiment=modulated_kodak_small evaluation.lpips=true
    nic-train experiment=modulated_kodak_small evaluation.lpips=true name=modulated_linear_kodak_small codec.lambda_input=linear \
        task.learning_rate_factors.modulation=1 task.learning_rate_factors.demodulation=1
    nic-train experiment=conditional_kodak_small evaluation.lpips=true
    nic-evaluate codec=jpeg evaluation.lpips=true 'evaluation.datasets=[kodak]' evaluation.save_images=0
    nic-evaluate codec=webp evaluation.lpips=true 'evaluation.datasets=[kodak]' evaluation.save_images=0
}

in_two_queues queue
python "$here/collect.py" runs
nic report runs -o report.html
