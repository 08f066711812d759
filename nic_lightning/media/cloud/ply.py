"""PLY, the Polygon File Format of Stanford: text, and binary of both byte orders."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nic_lightning.media.cloud.shape import Refused, Shape, fans, numbers, require_counts

_LONGEST_HEADER = 1 << 16
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_KINDS = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_CORNERS = ("vertex_indices", "vertex_index")


@dataclass
class _Element:
    """A table of the file: rows, and by column its kind, for a list those of its length and its values."""

    name: str
    count: int
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def has_lists(self) -> bool:
        return any(len(kinds) > 1 for kinds in self.columns.values())


def parse(data: bytes) -> Shape:
    """Vertices and triangles of a PLY file; Refused for what is none."""
    end = re.search(rb"^end_header\r?\n", data[:_LONGEST_HEADER], re.MULTILINE)
    if end is None:
        raise Refused("its header has no end")
    form, elements = _header(data[: end.start()].decode("ascii", "replace"))
    body = data[end.end() :]
    for element in elements:
        least = element.count * (len(element.columns) or 1)  # bytes: no column takes less than one
        if element.count < 0 or least > len(body):
            raise Refused(f"it promises {element.count:,} of {element.name!r} in {len(body):,} bytes")
    found: dict[str, Any] = dict(_text(body, elements) if form == "ascii" else _binary(body, elements, _ORDERS[form]))
    if "vertex" not in found:
        raise Refused("it has no element 'vertex'")
    return Shape(found["vertex"], found.get("face"))


def _header(text: str) -> tuple[str, list[_Element]]:
    form, elements = "", []
    for line in text.splitlines()[1:]:
        words = line.split()
        match words:
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, "1.0"] if name == "ascii" or name in _ORDERS:
                form = name
            case ["element", name, count] if re.fullmatch(r"\d{1,18}", count):
                elements.append(_Element(name, int(count)))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= _KINDS.keys():
                elements[-1].columns[name] = (_KINDS[length], _KINDS[kind])
            case ["property", kind, name] if elements and kind in _KINDS:
                elements[-1].columns[name] = (_KINDS[kind],)
            case _:
                raise Refused(f"its header has a line {line[:60]!r} that is not understood")
    if not form:
        raise Refused("its header names no format that is known")
    for element in elements:
        if element.name == "vertex":
            require_counts(element.count)
            if element.has_lists or not {"x", "y", "z"} <= element.columns.keys():
                raise Refused("its vertices have no x, y and z")
        else:
            require_counts(0, element.count)
    return form, elements


def _text(body: bytes, elements: list[_Element]) -> Iterator[tuple[str, np.ndarray]]:
    lines = [line for line in body.splitlines() if line.strip()]
    place = 0
    for element in elements:
        rows = lines[place : place + element.count]
        place += element.count
        if len(rows) < element.count:
            raise Refused(f"it promises {element.count:,} of {element.name!r}, and holds {len(rows):,}")
        if element.name == "vertex":
            table = numbers(b" ".join(rows), element.count * len(element.columns), "vertices")
            table = table.reshape(element.count, -1)
            names = list(element.columns)
            yield "vertex", table[:, [names.index(axis) for axis in "xyz"]]
        elif element.name == "face" and element.count:
            yield "face", fans([_corners(row.split(), element) for row in rows])


def _corners(words: list[bytes], element: _Element) -> list[int]:
    """The list of a face's corners in one line."""
    place = 0
    try:
        for name, kinds in element.columns.items():
            length = int(words[place]) if len(kinds) > 1 else 0
            if name in _CORNERS and len(kinds) > 1 and 0 <= length < len(words) - place:
                return [int(word) for word in words[place + 1 : place + 1 + length]]
            place += 1 + max(0, length)
    except (ValueError, IndexError):
        pass
    raise Refused("a face has no list of corners")


def _binary(body: bytes, elements: list[_Element], order: str) -> Iterator[tuple[str, np.ndarray]]:
    stream = io.BytesIO(body)
    for element in elements:
        if element.has_lists:
            polygons = _rows_with_lists(stream, element, order)
            if element.name == "face" and element.count:
                yield "face", fans(polygons)
            continue
        kind = np.dtype([(name, order + kinds[0]) for name, kinds in element.columns.items()])
        table = np.frombuffer(_exactly(stream, element.count * kind.itemsize), kind) if kind.itemsize else None
        if element.name == "vertex" and table is not None:
            yield "vertex", np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float64)


def _rows_with_lists(stream: io.BytesIO, element: _Element, order: str) -> list[list[int]]:
    """The corners of each row; rows have lengths of their own, so they are read one by one."""
    columns = [(name, [np.dtype(order + kind) for kind in kinds]) for name, kinds in element.columns.items()]
    rows = []
    for _ in range(element.count):
        corners: list[int] = []
        for name, kinds in columns:
            length = 1
            if len(kinds) > 1:
                length = int(np.frombuffer(_exactly(stream, kinds[0].itemsize), kinds[0])[0])
            values = _exactly(stream, length * kinds[-1].itemsize)
            if name in _CORNERS and len(kinds) > 1:
                corners = np.frombuffer(values, kinds[-1]).astype(np.int64).tolist()
        rows.append(corners)
    return rows


def _exactly(stream: io.BytesIO, count: int) -> bytes:
    left = len(stream.getbuffer()) - stream.tell()
    if not 0 <= count <= left:
        raise Refused("it ends before its last vertex or face")
    return stream.read(count)


def written(points: np.ndarray) -> bytes:
    """A little-endian PLY file of points (P, 3), as float32."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    return head.encode() + points.astype("<f4").tobytes()
