#!/usr/bin/env bash
# Measure everything that the timcflow_* folders show, on the data sets named (default: sintel_final), and gather it.
# Finished pairs are kept: the same command goes on where it was stopped.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds sintel/, kitti2015/, middlebury/ and weights/}"
export NIC_DATA
labels=(flow.strategy=none flow.interpolation=none flow.refinement=null)

measure() { # NAME OVERRIDES...
    nic-evaluate name="$1" run_dir="runs/$set/$1" "evaluation.datasets=[$set]" evaluation.save_images=4 "${@:2}"
}

for set in "${@:-sintel_final}"; do # each with settings and runs of its own
    options=() features=()
    case "$set" in # features and penalty as published for KITTI; a third of the scale hides what moves in Middlebury
        kitti*) options=(flow.weights=kitti flow.smoothness.far=485) features=(flow.weights=kitti) ;;
        middlebury*) options=(flow.ratio=1 flow.max_displacement=25) features=("${options[@]}") ;;
    esac
    measure dcflow flow=dcflow "${options[@]}"
    measure timcflow flow=timcflow "${options[@]}"
    measure simplified flow=simplified "${features[@]}" # its penalties are its own
    for peer in dis_medium farneback deepflow; do
        measure "$peer" flow="$peer"
    done
    case "$set" in sintel*) ;; *) continue ;; esac # the tables of what follows are of Sintel
    measure wta_two flow=dcflow "${labels[@]}" flow.smoothness=null
    measure wta_three flow=timcflow "${labels[@]}" flow.smoothness=null
    measure strategy1 flow=timcflow flow.strategy=large_regions
    measure strategy2 flow=timcflow flow.strategy=two_weightings
    measure strategy4 flow=timcflow flow.strategy=three_frames
done
for folder in benchmark wta discrete strategies full time figures; do
    python "$here/timcflow_$folder/collect.py" runs || [ $? -eq 2 ] # which says that its data set was not measured
done
nic report runs -o report.html
