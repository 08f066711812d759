#!/usr/bin/env bash
# Train, measure and gather everything that README.md shows. Finished runs are skipped, half-done ones continued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/ and photos/}"
export NIC_DATA
export OMP_NUM_THREADS=1 # one core for each job; launch=joblib runs as many at once as there are cores

nic-train -m experiment=capacity_kodak_small evaluation.lpips=true launch="${LAUNCH:-local}" \
    codec.width=12,24,48 codec.lmbda=32,128,512,2048
nic-train experiment=capacity_shared_kodak_small evaluation.lpips=true
python "$here/collect.py" runs
nic lambdas runs/capacity_kodak_small
