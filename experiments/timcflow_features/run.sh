#!/usr/bin/env bash
# Train features on photographs that are set in motion, learn the weights of the triple cost for DCFlow's own features,
# and measure both on frames that were not trained on. Stopped, the same command goes on.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
: "${NIC_DATA:?set NIC_DATA to the folder that holds photos/, sintel/, middlebury/ and weights/}"
export NIC_DATA
photographs=('data.photographs=[photos/train/bsds500]' data.validation=photos/valid data.validation_limit=2)

nic-train experiment=flow_features_small "${photographs[@]}" "$@"
nic-train experiment=flow_features_small name=official_lambdas task.train_features=false \
    init_from="$NIC_DATA/weights/dcflow_sintel_weights.npz" trainer.max_steps=42 'task.lower_at=[]' \
    task.lambda_learning_rate=0.1 data.samples_per_epoch=240 "${photographs[@]}"
python "$here/measure.py" runs/flow_features_small runs/official_lambdas "$here"
