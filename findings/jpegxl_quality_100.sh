#!/usr/bin/env bash
# JPEG XL in Pillow: the upper end of the quality scale.
# Expected: quality=100 writes a file, the best there is; 99.9 does.
# Seen:     RuntimeError: "The encoder API is used in an incorrect way". It needs lossless=True beside it, or the
#           picture's own profile: the default colours, XYB, have no distance 0.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 pillow-jxl-plugin==1.3.8 packaging==25.0
"$folder/venv/bin/python" - <<'PY'
import io
from importlib.metadata import version

import pillow_jxl  # noqa: F401
from PIL import Image

print("Pillow", version("pillow"), "pillow-jxl-plugin", version("pillow-jxl-plugin"))
picture = Image.radial_gradient("L").convert("RGB")


def size(**options: object) -> int:
    buffer = io.BytesIO()
    picture.save(buffer, "JXL", **options)
    return len(buffer.getvalue())


print("quality=99.9:", size(quality=99.9), "bytes")
print("quality=100, lossless=True:", size(quality=100, lossless=True), "bytes")
try:
    print("quality=100:", size(quality=100), "bytes")
except RuntimeError as error:
    print("quality=100:", type(error).__name__, error)
else:
    raise SystemExit("quality=100 works now")
PY
