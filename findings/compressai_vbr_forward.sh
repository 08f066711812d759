#!/usr/bin/env bash
# Rates of z in CompressAI's variable-rate models, whose bin width of z depends on the rate (vr_entbttlnck=True).
# Expected: forward(x) in evaluation mode gives z's likelihoods of bins of that width, as files are coded: with the tables
#           of update(scale=...) the bits of the string are about those of the likelihoods.
# Seen:     likelihoods are those of bins one wide: the width is handed to another argument of _likelihood_variable. With
#           bins 8 wide, the estimate of z is near what 1 wide would take, three bits too many for each symbol.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check compressai==1.2.8 torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import torch
from compressai.models import ScaleHyperpriorVbr

print("compressai", version("compressai"), "torch", torch.__version__)
torch.manual_seed(0)
model = ScaleHyperpriorVbr(8, 8, vr_entbttlnck=True).eval()
with torch.no_grad():
    for parameter in model.gayn2zqstep.parameters():
        parameter.zero_()
    model.gayn2zqstep[4].bias.fill_(8.0)  # softplus(8) is 8
    bottleneck = model.entropy_bottleneck
    bottleneck.quantiles.copy_(torch.tensor([-200.0, 0.0, 200.0]).repeat(8, 1, 1))  # all the mass is in the tables
    gain = torch.tensor(1.0)
    model.update(force=True, scale=gain)
    x = torch.rand(1, 3, 512, 512)
    written = 8 * len(model.compress(x, inputscale=gain)["strings"][1][0])
    likelihoods = model(x, inputscale=gain)["likelihoods"]["z"]
    estimated = float(-likelihoods.log2().sum())
print(f"z: {written} bits are written, {estimated:.0f} estimated, {likelihoods.numel()} symbols")
assert estimated - written > 2 * likelihoods.numel(), "the estimate behaves otherwise now"
PY
