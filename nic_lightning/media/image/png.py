"""Decoded images as PNG files."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from torch import Tensor

from nic_lightning.media.image.memory import to_pixels


def save_png(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W) in [0, 1] as an 8-bit PNG, whole or not at all. Raises OSError that names `path`."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(to_pixels(image)).save(data, format="PNG")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".png", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data.getbuffer())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
