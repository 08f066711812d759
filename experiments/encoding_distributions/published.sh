#!/usr/bin/env bash
# The published curve, of CompressAI's own weights: published.sh FOLDER [override ...]
# FOLDER holds bmshj2018-factorized-prior-{1..8}-*.pth.tar, which torch.hub puts into $TORCH_HOME/hub/checkpoints.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds kodak/ and photos/}"
: "${1:?name the folder with bmshj2018-factorized-prior-*.pth.tar}"
export NIC_DATA
runs="${RUNS:-runs/encoding_distributions}"
shopt -s nullglob
files=("$1"/bmshj2018-factorized-prior-[1-8]-*.pth.tar)
shift
[ ${#files[@]} -gt 0 ] || { echo "There is no bmshj2018-factorized-prior-*.pth.tar in that folder." >&2; exit 2; }
for file in "${files[@]}"; do
    quality="$(basename "$file" | cut -d- -f4)"
    large=()
    [ "$quality" -lt 6 ] || large=(codec.hidden=64 codec.side=32 codec.bins=1024)
    nic-train experiment=encoding_distributions "init_from=$file" "name=q$quality" "run_dir=$runs/q$quality" "${large[@]}" "$@"
    nic amortisation "$runs/q$quality" --images kodak --overwrite
done
python "$here/collect.py" "$runs" --out "$runs/published"
