"""Header fields of `.nic` files: declared once, so that writing and reading cannot differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nic_lightning.errors import BitstreamError

MAGIC = b"NIC1"
VERSION = 2
"""Of the files that are written."""
FINGERPRINT_BYTES = 8
MAX_PIXELS = 1 << 28
"""Largest image that is decoded unless the caller allows more: 268 megapixels, such as 16384x16384."""
MAX_POINT = 255
MEDIA = ("image", "cloud", "video")
"""Kinds of items by the number that stands for them in a file."""
STREAM = 0x80
"""Added to the medium's byte in a stream of several items."""
JOINED = 0x40
"""Added, too, where the items of a stream follow each other bit by bit."""


@dataclass(frozen=True)
class Field:
    """One header field.

    `kind`: "raw", `limit` bytes as they are; "bytes", a length up to `limit` and bytes; "number", a varint up to
    `limit`; "byte", one byte.
    """

    name: str
    kind: str
    limit: int


_SIDE = (1 << 35) - 1
_COMMON = (Field("fingerprint", "raw", FINGERPRINT_BYTES), Field("point", "bytes", MAX_POINT))
_SIZE = (Field("height", "number", _SIDE), Field("width", "number", _SIDE))
_RATE = (Field("rate", "number", (1 << 31) - 1), Field("per", "number", (1 << 31) - 1))
EXTENTS: Mapping[str, Sequence[Field]] = {"image": _SIZE, "cloud": (), "video": (*_SIZE, *_RATE)}
"""What the header says of the size of every item, by medium."""
MEDIUM = Field("medium", "byte", 255)


def fields(version: int, medium: str) -> tuple[Field, ...]:
    """Fields that follow magic and version; of version 2 and later after the medium."""
    return _COMMON + tuple(EXTENTS[medium])


def describe(medium: int) -> str:
    """What a medium's byte stands for, as words."""
    kind = medium & ~(STREAM | JOINED)
    name = MEDIA[kind] if kind < len(MEDIA) else f"medium {kind}, unknown here"
    return f"a stream of the medium {name}" if medium & STREAM else f"the medium {name}"


def article(medium: str) -> str:
    """A medium's name behind its article."""
    return f"{'an' if medium[0] in 'aeiou' else 'a'} {medium}"


def write_fields(declared: Sequence[Field], values: Mapping[str, Any]) -> bytes:
    """Bytes of header fields."""
    out = bytearray()
    for field in declared:
        value = values[field.name]
        if field.kind == "byte":
            out.append(value)
        elif field.kind == "number":
            out += varint(value)
        else:
            if len(value) > field.limit or (field.kind == "raw" and len(value) != field.limit):
                raise ValueError(f"{field.name} has {len(value)} bytes; {field.limit} fit.")
            out += (varint(len(value)) if field.kind == "bytes" else b"") + value
    return bytes(out)


def read_fields(declared: Sequence[Field], cursor: Cursor) -> dict[str, Any]:
    """Inverse of `write_fields`; raises BitstreamError."""
    found: dict[str, Any] = {}
    for field in declared:
        if field.kind == "byte":
            found[field.name] = cursor.take(1)[0]
        elif field.kind == "number":
            found[field.name] = cursor.number(field.limit)
        else:
            length = field.limit if field.kind == "raw" else cursor.number()
            content = cursor.take(length)
            if length > field.limit:
                raise BitstreamError(f"The file is malformed: its {field.name} has {length} bytes.")
            found[field.name] = content
    return found


def varint(value: int) -> bytes:
    """A number as LEB128: seven bits a byte, the lowest first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class Cursor:
    """Bounds-checked place in bytes."""

    def __init__(self, data: bytes, place: int = 0):
        self.data, self.place = data, place

    def take(self, count: int) -> bytes:
        """The next `count` bytes; raises BitstreamError where fewer are left."""
        if count > len(self.data) - self.place:
            raise BitstreamError("The file is malformed: a field is longer than the file.")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, limit: int = _SIDE) -> int:
        """The next varint; raises BitstreamError for one of more than 35 bits, or above `limit`."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > limit:
                    raise BitstreamError(f"The file is malformed: a number is {value}, above {limit}.")
                return value
        raise BitstreamError("The file is malformed: a number is longer than 32 bits.")

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self.data) - self.place)

    def end(self) -> None:
        """Raise BitstreamError unless all bytes were taken."""
        if self.place != len(self.data):
            raise BitstreamError("The file is malformed: bytes follow its last string.")
