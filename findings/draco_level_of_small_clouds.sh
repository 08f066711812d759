#!/usr/bin/env bash
# Draco's compression levels on clouds of few points.
# Expected: a higher compression level gives no larger file.
# Seen:     level 10, the highest, takes some 100 bytes more than level 2 for clouds of up to several hundred points,
#           and of eight points level 0 makes 80 bytes where level 10 makes 185.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check DracoPy==2.2.0 numpy==1.26.4
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import DracoPy
import numpy as np

print("DracoPy", version("DracoPy"))
around = np.random.default_rng(0).normal(size=(512, 3))
sphere = (around / np.linalg.norm(around, axis=1)[:, None]).astype(np.float32)
for points in (8, 32, 128, 512):
    cloud = np.ascontiguousarray(sphere[:points])
    sizes = [
        len(
            DracoPy.encode(
                cloud, quantization_bits=6, compression_level=level, quantization_range=2.0,
                quantization_origin=np.full(3, -1.0),
            )
        )
        for level in range(11)
    ]
    print(f"{points} points, bytes at levels 0 to 10:", *sizes)
    assert sizes[10] > sizes[2] + 80, "level 10 is no longer larger than level 2"
    if points == 8:
        assert sizes[0] < 0.55 * sizes[10], "level 0 is no longer half of level 10"
PY
