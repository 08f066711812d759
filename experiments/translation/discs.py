"""Synthetic domains small enough to train on in minutes: red discs and blue discs on grey, 32 x 32 pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, COUNT = 32, 64
COLOURS = {"blue": (0.2, 0.25, 0.85), "red": (0.85, 0.25, 0.2)}


def disc(numbers: np.random.Generator, colour: tuple[float, float, float]) -> np.ndarray:
    """Place, radius, shade and background are random; the hue is the domain's."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    (y, x), radius = numbers.uniform(10, SIZE - 10, 2), numbers.uniform(5, 9)
    inside = np.clip(radius + 0.5 - np.hypot(rows - y, columns - x), 0, 1)[..., None]
    background = numbers.uniform(0.35, 0.65) + numbers.normal(0, 0.02, (SIZE, SIZE, 1))
    shade = np.array(colour) * numbers.uniform(0.7, 1.1)
    return (255 * np.clip(inside * shade + (1 - inside) * background, 0, 1)).round().astype(np.uint8)


def write(root: Path) -> None:
    """`root`/{train,val}/{blue,red}/NN.png."""
    for part, seed in (("train", 0), ("val", 1)):
        numbers = np.random.default_rng(seed)
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for i in range(COUNT // 2):
                Image.fromarray(disc(numbers, colour)).save(root / part / name / f"{i:02}.png")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
