#!/usr/bin/env bash
# Train, measure and gather everything that README.md shows. Finished runs are skipped, half-done ones continued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/ and photos/}"
export NIC_DATA
export OMP_NUM_THREADS=1

for codec in slimmable scalable; do
    nic-train experiment=slimcae_entropy_kodak_small evaluation.lpips=true "codec=$codec"
done
for codec in slimmable_hyperprior slimmable_context; do
    nic-train experiment=slimcae_entropy_kodak_small evaluation.lpips=true "codec=$codec" 'codec.hyper_widths=[6,9,12,18,24]'
done
nic-train experiment=slimcae_entropy_kodak_small evaluation.lpips=true codec=slimmable_context codec.order=serial \
    name=slimcae_entropy_kodak_small_slimmable_context_serial 'codec.hyper_widths=[6,9,12,18,24]'
nic-evaluate codec=jpeg evaluation.lpips=true 'evaluation.datasets=[kodak]' evaluation.save_images=0
python "$here/collect.py" runs
