#!/usr/bin/env bash
# Pictures of CompressAI's models in evaluation mode: forward(x) beside decompress(compress(x)).
# Expected: the same picture, but for float32's last digits, as of the factorised and mean-scale models: a forward pass is
#           what rate and quality are often estimated by.
# Seen:     models with serial context (mbt2018, cheng2020-anchor) give another picture. forward rounds the latents
#           themselves, compress rounds what is left after their means: latents differ by up to half a step.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check compressai==1.2.8 torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import torch
from compressai.zoo import image_models

print("compressai", version("compressai"), "torch", torch.__version__)
torch.set_num_threads(1)
for name in ("bmshj2018-factorized", "mbt2018-mean", "mbt2018", "cheng2020-anchor"):
    torch.manual_seed(0)
    model = image_models[name](quality=1, metric="mse", pretrained=False).eval()
    with torch.no_grad():
        last = [layer for layer in model.g_a.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
        last.weight.mul_(20)  # latents of a few steps, as a trained model has
        model.update(force=True)
        x = torch.rand(1, 3, 64, 64)
        seen = model(x)["x_hat"].clamp(0, 1)
        decoded = model.decompress(**model.compress(x))["x_hat"]
    difference = float((seen - decoded).abs().max())
    print(f"{name}: the pictures differ by up to {difference:.6f}")
    context = name in ("mbt2018", "cheng2020-anchor")
    assert (difference > 1e-3) == context, f"{name} behaves otherwise now"
PY
