#!/usr/bin/env bash
# Pillow's AVIF encoder: what a file is depends on threads that are not there, and on the number of those that are.
# Expected: with max_threads=1 a picture is one tile, so that autotiling changes nothing; and the bytes of a file do
#           not depend on the number of threads that write it.
# Seen:     autotiling, which is on by default, cuts the picture into tiles for one thread, too; and one thread and two
#           write different files.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==1.26.4
"$folder/venv/bin/python" - <<'PY'
import io

import numpy as np
import PIL
from PIL import Image, features

print("Pillow", PIL.__version__, "avif", features.version("avif"))
y, x = np.mgrid[:512, :768]
noise = np.random.default_rng(0).normal(0, 12, (512, 768))
plane = (128 + 60 * np.sin(x / 37) + 50 * np.cos(y / 23) + noise).clip(0, 255)
picture = np.stack([plane, np.roll(plane, 9, 0), np.roll(plane, 30, 1)], 2).astype(np.uint8)


def encoded(threads: int, autotiling: bool) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    image.save(buffer, "AVIF", quality=50, speed=6, codec="aom", max_threads=threads, autotiling=autotiling)
    return buffer.getvalue()


sizes = {(t, a): len(encoded(t, a)) for t in (1, 2) for a in (False, True)}
for (threads, autotiling), size in sizes.items():
    print(f"max_threads={threads} autotiling={autotiling}: {size} bytes")
assert encoded(1, False) == encoded(1, False), "the same call writes the same file"
assert encoded(1, True) != encoded(1, False), "one thread makes one tile now"
assert encoded(1, False) != encoded(2, False), "the number of threads does not matter any more"
print("As found: tiles are made for threads that are not there; the number of threads changes the file.")
PY
