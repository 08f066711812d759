#!/usr/bin/env bash
# UI2ICodec on faces of 64 pixels: train at three rates, measure and gather what README.md shows. Finished runs are
# skipped, half-done ones continued.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds faces/celeba_hq/{female,male}}"
export NIC_DATA
export OMP_NUM_THREADS=1
mkdir -p runs
python "$here/split.py" "$NIC_DATA/faces/celeba_hq" faces

train() { # name, iterations, then settings
    nic-train experiment=ui2icodec_small name="$1" trainer.max_steps="$2" data.train="$PWD/faces/train" \
        data.validation="$PWD/faces/val" data.batch_size=4 task.quantile_learning_rate=1e-2 task.diversity_iterations=0 \
        'evaluation.datasets=[]' logger=none "${@:3}"
}
# The distortion alone, then both tasks.
train faces_warm 2000 task.warm_up=2000 task.ema_decay=0.98
train faces_joint 494 task.warm_up=0 task.ema_decay=0.98 init_from=runs/faces_warm task.lambda_t=0.1 task.lambda_a=20
# From there to three rates, slower, four iterations of five on autoencoding, the decoder on rounded content.
branch() { # name, iterations, weights
    train "$1" "$2" init_from=runs/faces_joint task.warm_up=0 task.ema_decay=0.99 codec.decoder_input=ste \
        task.learning_rate=3e-4 task.mapping_learning_rate=3e-6 task.mode_schedule=random \
        task.autoencode_probability=0.8 "${@:3}"
}
branch faces_middle 700 task.lambda_t=0.1 task.lambda_a=20
branch faces_low 800 task.lambda_t=1.0 task.lambda_a=5
branch faces_high 300 task.lambda_t=0.02 task.lambda_a=80

# The lever on quality: more warm-up, and nothing but autoencoding.
only() { # name, iterations, from, settings
    train "$1" "$2" init_from="runs/$3" task.ema_decay=0.99 codec.decoder_input=ste task.learning_rate=5e-4 "${@:4}"
}
only faces_warm_longer 1577 faces_warm task.warm_up=1577
only faces_autoencoder 754 faces_warm_longer task.warm_up=0 task.mode_schedule=autoencode task.lambda_a=5

for run in faces_high faces_middle faces_low; do
    nic-evaluate run="runs/$run" translation.train="$PWD/faces/train" translation.validation="$PWD/faces/val" \
        'translation.extractors=[alexnet]' 'evaluation.datasets=[]'
done
mkdir -p coded
for run in faces_high faces_middle faces_low faces_autoencoder; do ln -sfn "$PWD/runs/$run" "coded/$run"; done
python "$here/coding.py" faces/coding coded runs/coding.csv
python "$here/files.py" runs/faces_middle "$(ls "$PWD"/faces/coding/*.png | head -n 1)" runs/files.csv
nic grid runs/faces_high runs/faces_middle runs/faces_low --images "$PWD/faces/val" -o figures --overwrite
python "$here/collect.py" runs
