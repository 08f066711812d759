#!/usr/bin/env bash
# The state of a CompressAI model before and after it is evaluated.
# Expected: state_dict() is the same, and so is a hash of it: nothing is trained.
# Seen:     models with context (mbt2018, cheng2020-anchor, ELIC) multiply the mask into their weights in forward, compress
#           of the checkerboard included: what lay under it is gone from the state.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check compressai==1.2.8 torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import torch
from compressai.models import JointAutoregressiveHierarchicalPriors, MeanScaleHyperprior

print("compressai", version("compressai"), "torch", torch.__version__)
for kind in (MeanScaleHyperprior, JointAutoregressiveHierarchicalPriors):
    model = kind(8, 8).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    print(f"{kind.__name__}: evaluation changed {changed or 'nothing'}")
    context = kind is JointAutoregressiveHierarchicalPriors
    assert (changed == ["context_prediction.weight"]) == context, f"{kind.__name__} behaves otherwise now"
PY
