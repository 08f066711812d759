"""A small set of labelled clouds of plain shapes, in the folders of ModelNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = ("ball", "box", "cross", "disc", "pole")


def shape(kind: str, points: int, draw: np.random.Generator) -> np.ndarray:
    """Points of a shape of a random size, (points, 3) float32."""
    around = draw.standard_normal((points, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    cube = draw.uniform(-1, 1, (points, 3))
    axis = draw.integers(0, 3, points)
    found = {
        "ball": around,
        "box": cube / np.abs(cube).max(axis=1, keepdims=True),
        "cross": cube * np.where(np.arange(3) == axis[:, None], 1.0, 0.05),
        "disc": cube * [1, 1, 0.02],
        "pole": cube * [0.1, 0.1, 1],
    }[kind]
    return (found * draw.uniform(0.8, 1.25, 3)).astype(np.float32)


def write_set(folder: Path, train: int = 12, test: int = 4, points: int = 96) -> Path:
    """CLASS/{train,test}/*.npy below `folder`."""
    draw = np.random.default_rng(0)
    for kind in CLASSES:
        for split, count in (("train", train), ("test", test)):
            (folder / kind / split).mkdir(parents=True)
            for number in range(count):
                np.save(folder / kind / split / f"{number:03d}.npy", shape(kind, points, draw))
    return folder
