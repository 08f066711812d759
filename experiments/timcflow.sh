#!/usr/bin/env bash
# Measure everything that the timcflow_* folders show, on the data sets named (default: sintel_final), and gather it.
# Finished pairs are kept: the same command goes on where it was stopped.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds sintel/, kitti2015/, middlebury/ and weights/}"
export NIC_DATA
sets="${*:-sintel_final}"
runs="runs/${sets%% *}" # other sets take other settings, so each has runs of its own
options=("evaluation.datasets=[${sets// /,}]" evaluation.save_images=3)
case "$sets" in # features and penalty as published for KITTI; a third of the scale hides what moves in Middlebury
    kitti*) options+=(flow.weights=kitti flow.smoothness.far=485) ;;
    middlebury*) options+=(flow.ratio=1 flow.max_displacement=25) ;;
esac
labels=(flow.strategy=none flow.interpolation=none flow.refinement=null)

measure() { # NAME OVERRIDES...
    nic-evaluate name="$1" run_dir="$runs/$1" "${@:2}"
}

measure dcflow flow=dcflow "${options[@]}"
measure timcflow flow=timcflow "${options[@]}"
measure simplified flow=simplified "${options[@]}"
measure wta_two flow=dcflow "${options[@]}" "${labels[@]}" flow.smoothness=null
measure wta_three flow=timcflow "${options[@]}" "${labels[@]}" flow.smoothness=null
measure strategy1 flow=timcflow flow.strategy=large_regions "${options[@]}"
measure strategy2 flow=timcflow flow.strategy=two_weightings "${options[@]}"
measure strategy4 flow=timcflow flow.strategy=three_frames "${options[@]}"
for peer in dis_medium farneback deepflow; do
    measure "$peer" flow="$peer" "${options[@]:0:2}"
done
for folder in wta discrete strategies full time; do
    python "$here/timcflow_$folder/collect.py" runs
done
nic report runs -o report.html
