#!/usr/bin/env bash
# Measure every classic codec at hand on the 24 Kodak images and gather what README.md shows. Measured ones are skipped.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/}"
export NIC_DATA
export OMP_NUM_THREADS=1
codecs=(jpeg jpeg_444 jpeg2000 webp webp_best avif avif_444 hevc hevc_444 jpegxl)
vtm=()
if command -v bpgenc >/dev/null && command -v bpgdec >/dev/null; then codecs+=(bpg); fi
if [[ -n "${VTM_CONFIG:-}" ]]; then
    codecs+=(vtm)
    vtm=("codec.config=$VTM_CONFIG")
fi

for codec in "${codecs[@]}"; do
    if [[ -f runs/$codec/results.parquet ]]; then continue; fi
    more=()
    if [[ $codec == vtm ]]; then more=("${vtm[@]}"); fi
    nic-evaluate codec="$codec" evaluation.lpips=true 'evaluation.datasets=[kodak]' evaluation.save_images=0 "${more[@]}"
done
python "$here/processor_time.py" --out "$here"
python "$here/collect.py" runs
nic report runs --published bpg --published vtm --published av1 -o report.html
