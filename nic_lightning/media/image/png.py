"""Decoded images as PNG files."""

from __future__ import annotations

import io
from pathlib import Path

from torch import Tensor

from nic_lightning.media.image.memory import to_pixels
from nic_lightning.media.writing import write_whole


def save_png(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W) in [0, 1] as an 8-bit PNG, whole or not at all. Raises OSError that names `path`."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(to_pixels(image)).save(data, format="PNG")
    write_whole(path, data.getbuffer())
