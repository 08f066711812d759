#!/usr/bin/env bash
# Train a model of the zoo, put it there, measure it, and write its card: experiments/zoo/train.sh NAME. Finished parts are skipped.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds photos/, kodak/ and pointclouds/}"
export NIC_DATA
name="${1:?name a model: photo, cloud-micro, cloud-lite or cloud-full}"

case "$name" in
photo)
    datasets=[kodak]
    others="webp_best jpeg_optimized"
    nic-train experiment=light_small codec.context=none optimizer=muon task.optimizer.iteration=bfloat16 \
        task.learning_rate=2e-3 task.average=.998 task.decay=4500 trainer.max_steps=21200 trainer.precision=bf16-mixed \
        logger=none name=photo run_dir=runs/photo
    ;;
cloud-*)
    datasets=[furniture]
    others=""
    precision=32-true
    [ "$name" != cloud-full ] || precision=bf16-mixed
    nic-train experiment=point_cloud_micro_small codec.size="${name#cloud-}" codec.lmbda=160 task.decay=600 \
        trainer.max_steps=1500 trainer.precision=$precision logger=none name="$name" run_dir="runs/$name" evaluation.baselines=[]
    ;;
*)
    echo "There is no recipe for $name." >&2
    exit 2
    ;;
esac

python "$here/ship.py" "runs/$name" "$name"
measure() { # name of the evaluation, what is measured
    [ -f "measured/$1/results.parquet" ] || nic-evaluate "$2" evaluation.datasets=$datasets evaluation.baselines=[] \
        evaluation.save_images=0 run_dir="measured/$1"
}
rm -rf "measured/$name"
measure "$name" "run=$name"
for other in $others; do measure $other codec=$other; done
(cd measured && python "$here/ship.py" "../runs/$name" "$name" "$name" $others --only-card)
nic zoo show "$name"
