"""Small folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Noise = Callable[[Path, int, int], np.ndarray]


@pytest.fixture
def noise() -> Noise:
    """Writes an image of noise, 8-bit RGB of the given height and width, and returns its pixels."""
    rng = np.random.default_rng(0)

    def write(path: Path, height: int, width: int) -> np.ndarray:
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    return write


@pytest.fixture
def folder(tmp_path: Path, noise: Noise) -> Path:
    """Six sound PNGs, a.png to f.png, 40 to 45 pixels high and 50 wide."""
    for number, name in enumerate("abcdef"):
        noise(tmp_path / "six" / f"{name}.png", 40 + number, 50)
    return tmp_path / "six"
