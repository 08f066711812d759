#!/usr/bin/env bash
# Analyse and gather everything that README.md shows. Finished runs are skipped.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/, photos/ and sintel/}"
export NIC_DATA
few="samples.rotate=21 samples.scale=21 samples.shear=21 logger=none"
nic-train experiment=encoding_distributions_base_small
codec="network=codec network.run=runs/encoding_distributions_base_small"
# shellcheck disable=SC2086 # lists of words
{
    nic-analyze network=efficientnet_lite images=kodak limit=null $few name=efficientnet_lite0_kodak
    nic-analyze $codec images=kodak limit=null draws=1024 mask=interior $few name=mae_small_kodak
    nic-analyze $codec study=codec_motion logger=none name=mae_small_sintel
}
python "$here/collect.py" runs
