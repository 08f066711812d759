"""Small clouds and meshes that tests share."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 2) for z in (0, 3)], dtype=np.float64)
"""Of a box."""
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def off(header: str = "OFF\n8 6 0", colour: str = "") -> str:
    """A box as OFF."""
    corners = "".join(f"{x:g} {y:g} {z:g}\n" for x, y, z in CORNERS)
    return f"{header}\n{corners}" + "".join(f"4 {' '.join(map(str, side))}{colour}\n" for side in SIDES)


def ply(order: str, faces: bool = True) -> bytes:
    """A box as PLY, "ascii", "<" or ">"; vertices have a colour, faces a flag before their corners."""
    form = {"ascii": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = f"ply\nformat {form} 1.0\ncomment a box\nelement vertex 8\nproperty double x\nproperty float y\n"
    head += "property float z\nproperty uchar red\n"
    if faces:
        head += "element face 6\nproperty uchar flag\nproperty list uchar int vertex_indices\n"
    data = (head + "end_header\n").encode()
    for x, y, z in CORNERS:
        data += f"{x} {y} {z} 200\n".encode() if order == "ascii" else struct.pack(f"{order}dffB", x, y, z, 200)
    for side in SIDES if faces else []:
        words = [7, 4, *side]
        data += f"{' '.join(map(str, words))}\n".encode() if order == "ascii" else struct.pack(f"{order}BB4i", *words)
    return data


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def ball(points: int, seed: int = 0) -> np.ndarray:
    """Random points, (points, 3) float32."""
    return np.random.default_rng(seed).standard_normal((points, 3)).astype(np.float32)
