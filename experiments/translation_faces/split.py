"""Parts of the face data: python split.py FACES OUT, FACES with folders female, male and perhaps others.

OUT/train and OUT/val, female and male apart: every fifth image, by name, is for validation. OUT/coding: validation
images and those of FACES/unlabelled, 64 x 64 pixels as `evaluation.side` would make them. Training sees none of these.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from nic_lightning.data.domains import resized
from nic_lightning.data.images import read_rgb

SIZE, KEPT = 64, 128
"""Of coded images, and of those that training and translation resize once more."""
EVERY = 5


def write(source: Path, target: Path, size: int) -> None:
    """A square PNG."""
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(resized(read_rgb(source), size)).save(target.with_suffix(".png"))


def split(faces: Path, out: Path) -> None:
    """Write all parts."""
    for domain in ("female", "male"):
        for i, path in enumerate(sorted((faces / domain).iterdir())):
            part = "train" if i % EVERY else "val"
            write(path, out / part / domain / path.name, KEPT)
            if part == "val":
                write(path, out / "coding" / f"{domain}_{path.name}", SIZE)
    for path in sorted((faces / "unlabelled").glob("*")):
        write(path, out / "coding" / f"unlabelled_{path.name}", SIZE)


if __name__ == "__main__":
    split(Path(sys.argv[1]), Path(sys.argv[2]))
