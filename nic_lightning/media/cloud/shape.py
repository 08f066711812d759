"""What every reader of point clouds gives, and what it refuses with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.errors import DataError

MAX_POINTS = 1 << 22
"""Points of a cloud, or vertices of a mesh, that are read: 48 MiB as float32."""
MAX_FACES = 1 << 23
MAX_BYTES = {"ply": 1 << 28, "off": 1 << 26, "xyz": 1 << 26}
"""Of a file that is read as a whole; words of a text take some twenty times their file."""
_LONGEST_NUMBER = 40

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


class UnreadableCloud(DataError):
    """One file that is no usable point cloud; `reason` says why in a few words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot read the point cloud {path}: {reason}.")
        self.path = path
        self.reason = reason


class Refused(Exception):
    """Why a reader refuses bytes; `files.py` adds the path."""


@dataclass(frozen=True)
class Shape:
    """Points (P, 3), float64; of a mesh they are vertices, and `triangles` (T, 3) are their numbers."""

    points: Floats
    triangles: np.ndarray | None = None


def require_counts(points: int, faces: int = 0) -> None:
    """Raise Refused for numbers of points and faces that are not read."""
    if points > MAX_POINTS or faces > MAX_FACES:
        raise Refused(
            f"{points:,} points and {faces:,} faces, where {MAX_POINTS:,} and {MAX_FACES:,} are the most: thin it out"
        )


def numbers(text: bytes, count: int, what: str) -> Floats:
    """`count` decimal numbers of a text, float64; Refused where there are others or more or fewer."""
    words = text.split()
    if len(words) != count:
        raise Refused(f"{len(words):,} numbers where its {what} need {count:,}")
    try:
        if max(map(len, words), default=0) > _LONGEST_NUMBER:
            raise ValueError
        return np.array(words, dtype=f"S{_LONGEST_NUMBER}").astype(np.float64)
    except ValueError:
        raise Refused(f"what stands among its {what} is no number") from None


def fans(polygons: list[list[int]]) -> np.ndarray:
    """Triangles (T, 3) of polygons, each a fan around its first corner; those of fewer than three corners have none.

    Raises Refused for more than `MAX_FACES`, and corners of numbers that no vertex has.
    """
    require_counts(0, sum(max(0, len(polygon) - 2) for polygon in polygons))
    made = [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]
    try:
        return np.array(made, dtype=np.int64).reshape(-1, 3)
    except OverflowError:
        raise Refused("a face has a corner that is none of its vertices") from None
