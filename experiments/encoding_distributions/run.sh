#!/usr/bin/env bash
# Train, measure and gather everything that README.md shows. Finished runs are skipped, half-done ones continued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/ and photos/}"
export NIC_DATA
nic-train experiment=encoding_distributions_base_small
nic-train experiment=encoding_distributions_small
nic amortisation runs/encoding_distributions_small --images kodak --overwrite
python "$here/collect.py" runs
