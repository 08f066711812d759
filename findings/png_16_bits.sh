#!/usr/bin/env bash
# Pillow: a PNG of 16 bits a channel in colour, as ground-truth flow of KITTI and many test photographs are.
# Expected: 16 bits, or an error, or a mode that says what is lost.
# Seen:     mode RGB, 8 bits, the lower byte is gone and nothing says so; grey of 16 bits keeps all, but with alpha it
#           loses them, too. Only the decoder's arguments in image.tile show it, before the pixels are loaded.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==1.26.4
"$folder/venv/bin/python" - <<'PY'
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__)


def png(colour_type: int, channels: int) -> bytes:
    """A PNG of 4x2 pixels, every sample 0x1234 (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x12\x34" * channels * 4 for _ in range(2))
    head = struct.pack(">IIBBBBB", 4, 2, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


for name, colour_type, channels, mode, value in (
    ("grey", 0, 1, "I;16", 0x1234),
    ("colour", 2, 3, "RGB", 0x12),
    ("grey with alpha", 4, 2, "RGBA", 0x12),
    ("colour with alpha", 6, 4, "RGBA", 0x12),
):
    image = Image.open(io.BytesIO(png(colour_type, channels)))
    before = image.tile[0].args
    pixels = np.asarray(image)
    print(f"{name}: mode {image.mode}, {pixels.dtype}, first sample {int(pixels.flat[0]):#x} of 0x1234; tile {before}")
    assert (image.mode, int(pixels.flat[0])) == (mode, value), "16 bits are read otherwise now"
PY
