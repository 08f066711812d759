#!/usr/bin/env bash
# Qualities 0 to 100 of AVIF and HEVC pictures.
# Expected: each of the 101 qualities is a setting of its own, and 100 is better than 93.
# Seen:     AVIF has 64 different files; HEVC has 49, because libheif halves the quality to a whole constant rate factor,
#           and tuned for PSNR 93 to 100 are all the same.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-heif==1.8.1 numpy==1.26.4
"$folder/venv/bin/python" - <<'PY'
import io

import numpy as np
import PIL
import pillow_heif
from PIL import Image

print("Pillow", PIL.__version__, "pillow-heif", pillow_heif.__version__, pillow_heif.libheif_info())
y, x = np.mgrid[:160, :160]
noise = np.random.default_rng(0).normal(0, 25, (160, 160))
plane = (128 + 60 * np.sin(x / 17) + 50 * np.cos(y / 13) + noise).clip(0, 255)
picture = np.ascontiguousarray(np.stack([plane, np.roll(plane, 9, 0), np.roll(plane, 30, 1)], 2).astype(np.uint8))


def avif(quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "AVIF", quality=quality, speed=9, codec="aom", max_threads=1)
    return buffer.getvalue()


def hevc(quality: int) -> bytes:
    buffer = io.BytesIO()
    options = {"tune": "psnr", "x265:pools": "none"}
    pillow_heif.encode("RGB", (160, 160), picture.tobytes(), buffer, quality=quality, enc_params=options)
    return buffer.getvalue()


for name, encode, expected in (("AVIF", avif, 64), ("HEVC", hevc, 48)):
    files = {quality: encode(quality) for quality in range(101)}
    different = len(set(files.values()))
    print(f"{name}: 101 qualities, {different} different files; 49 and 50 are {'one' if files[49] == files[50] else 'two'}")
    assert different == expected, f"{different} files now"
    if name == "HEVC":
        assert len({files[q] for q in range(93, 101)}) == 1, "the top qualities differ now"
        print("HEVC: qualities 93 to 100 are one file")
PY
