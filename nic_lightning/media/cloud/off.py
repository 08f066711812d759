"""OFF, the Object File Format of Geomview, as ModelNet has it: text, polygons, colours that are left out."""

from __future__ import annotations

import re

import numpy as np

from nic_lightning.media.cloud.shape import Refused, Shape, fans, numbers, require_counts

HEADER = re.compile(rb"(?P<kind>(?:ST)?C?N?4?n?)OFF(?P<rest>.*)", re.DOTALL)
BEGINNING = re.compile(rb"(?:ST)?C?N?OFF[\s\d#]")
"""Of files that are read. ModelNet has some whose counts follow the word without a space: "OFF6586 5534 0"."""


def parse(data: bytes) -> Shape:
    """Vertices and triangles of an OFF file; Refused for what is none."""
    lines = [line for line in (line.partition(b"#")[0].strip() for line in data.splitlines()) if line]
    header = HEADER.match(lines[0]) if lines else None
    if header is None:
        raise Refused("its first line is not OFF")
    if header["kind"].strip(b"STCN") or header["rest"].strip().lower().startswith(b"binary"):
        raise Refused("an OFF file of four or more dimensions, or a binary one: save it as plain text")
    first = 1
    counts = header["rest"].split()
    if not counts and len(lines) > 1:
        counts, first = lines[1].split(), 2
    if not 2 <= len(counts) <= 3 or not all(re.fullmatch(rb"\d{1,18}", word) for word in counts):
        raise Refused("its numbers of vertices and faces are not where they should be")
    points, faces = int(counts[0]), int(counts[1])
    if points + faces > len(lines) - first:
        raise Refused(f"it promises {points:,} vertices and {faces:,} faces, and holds {len(lines) - first:,} lines")
    require_counts(points, faces)
    corners = lines[first : first + points]
    return Shape(_vertices(corners), _triangles(lines[first + points : first + points + faces]))


def _vertices(lines: list[bytes]) -> np.ndarray:
    """(V, 3); what follows the coordinates, such as normals and colours, is left out."""
    return numbers(b" ".join(b" ".join(line.split()[:3]) for line in lines), 3 * len(lines), "vertices").reshape(-1, 3)


def _triangles(lines: list[bytes]) -> np.ndarray | None:
    """Each line is the number of corners, their vertices, and perhaps a colour."""
    if not lines:
        return None
    polygons = []
    try:
        for line in lines:
            words = line.split()
            count = int(words[0])
            if count > len(words) - 1:
                raise Refused("a face has fewer corners than it says")
            polygons.append([int(word) for word in words[1 : 1 + count]])
    except (ValueError, OverflowError):
        raise Refused("a face has a corner that is no number") from None
    return fans(polygons)
