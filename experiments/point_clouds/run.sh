#!/usr/bin/env bash
# Train, evaluate and gather everything that README.md shows. Finished runs are skipped. G-PCC needs tmc3 on PATH.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds pointclouds/}"
export NIC_DATA

train() { # size, lambda, points, seed
    run="runs/$1_$2_p$3_s$4" precision=32-true
    [ $1 != full ] || precision=bf16-mixed # a third of the time on a CPU with such instructions; on others take 32-true
    [ -f "$run/results.parquet" ] || nic-train experiment=point_cloud_micro_small codec.size="$1" codec.lmbda="$2" \
        data.points="$3" seed="$4" name="$(basename "$run")" run_dir="$run" logger=none trainer.max_steps=1500 \
        trainer.precision=$precision task.decay=600 evaluation.baselines=[]
}

before() { # codec, size, points, seed, points of the classifier
    run="runs/$1_$2_p$3_s$4"
    [ -f "$run/results.parquet" ] || nic-evaluate codec="$1" codec.classifier="runs/$2_100000_p$5_s$4" \
        codec.points="$3" evaluation.datasets=[furniture] evaluation.save_images=0 run_dir="$run" name="$1_$2_p$3"
}

for seed in 0 1 2; do
    for size in micro lite full; do
        for lambda in 10 40 160 1000 100000; do train $size $lambda 256 $seed; done
    done
    for size in micro lite; do
        for points in 64 1024; do train $size 100000 $points $seed; done
        for codec in draco gpcc; do
            command -v tmc3 >/dev/null || [ $codec = draco ] || continue
            for points in 16 32 64; do before $codec $size $points $seed 64; done
            for points in 128 256; do before $codec $size $points $seed 256; done
            before $codec $size 1024 $seed 1024
        done
    done
done
for points in 16 64 1024; do
    for size in micro lite; do
        for lambda in 40 1000; do train $size $lambda $points 0; done
    done
done
run=runs/reconstructing
[ -f "$run/results.parquet" ] || nic-train experiment=point_cloud_micro_small codec.lmbda=1000 codec.reconstruct=true \
    trainer.max_steps=3000 task.decay=1000 name=reconstructing run_dir="$run" logger=none
nic critical_points "$run" --overwrite
cp "$run/critical_points/clouds.png" "$here/critical_points.png"
python "$here/collect.py" runs
