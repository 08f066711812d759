"""The `.nic` file: one compressed image.

    "NIC1"  version  fingerprint  point length + point  H  W  count of strings  their lengths  strings  CRC-32
      4        1          8           varint + bytes   varints    varint          varints       ...    4, little-endian

Version 2 lays out as version 1, and only Gaussian latents with scales of 0.11 and below are coded by another table
(`entropy.models.GaussianConditional.rows`). Files of both are read; only the newest is written.

Varints are LEB128. The CRC covers everything before it. The fingerprint ties the file to codec, weights and tables.

A layered file has the point "L", n (two bytes) and n strings, a base and what refines it: its first m strings are the
file of point "L", m. So a file can be shortened by `truncate`, without the codec.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

from nic_lightning.errors import BitstreamError, counted

MAGIC = b"NIC1"
VERSION = 2
"""Of the files that are written."""
FINGERPRINT_BYTES = 8
MAX_PIXELS = 1 << 25
"""Largest image that is decoded unless the caller allows more: 33.5 megapixels, just above 8K."""
MAX_STRINGS = 256
_LAYERED = ord("L")


@dataclass(frozen=True)
class Container:
    """Content of a file: operating point as the codec wrote it, true image size in pixels, entropy-coded strings."""

    fingerprint: bytes
    point: bytes
    height: int
    width: int
    strings: tuple[bytes, ...]
    version: int = VERSION


def pack(content: Container) -> bytes:
    """Bytes of a file."""
    lengths = b"".join(_varint(len(s)) for s in content.strings)
    head = (
        MAGIC + bytes([content.version]) + content.fingerprint + _varint(len(content.point)) + content.point
        + _varint(content.height) + _varint(content.width) + _varint(len(content.strings)) + lengths
    )  # fmt: skip
    body = head + b"".join(content.strings)
    return body + zlib.crc32(body).to_bytes(4, "little")


def unpack(data: bytes, max_pixels: int = MAX_PIXELS) -> Container:
    """Inverse of `pack`; raises `BitstreamError` with one sentence for anything else, before allocating memory."""
    if len(data) < 4 or data[:4] != MAGIC:
        raise BitstreamError('This is not a .nic file: it does not start with "NIC1".')
    if len(data) < 5 or not 1 <= data[4] <= VERSION:
        raise BitstreamError(
            f"Unknown .nic version {data[4] if len(data) > 4 else '(missing)'}; this decoder reads 1 to {VERSION}."
        )
    if len(data) < 5 + FINGERPRINT_BYTES + 8 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise BitstreamError("The file is cut or altered: its CRC-32 does not match its content.")
    reader = _Reader(data[:-4], 5)
    fingerprint = reader.take(FINGERPRINT_BYTES)
    point = reader.take(reader.varint())
    height, width = reader.varint(), reader.varint()
    if not 0 < height * width <= max_pixels:
        raise BitstreamError(
            f"The file declares an image of {height}x{width}; sizes from 1 to {max_pixels} pixels are decoded."
        )
    count = reader.varint()
    if count > MAX_STRINGS:
        raise BitstreamError(f"The file declares {count} strings; at most {MAX_STRINGS} are possible.")
    lengths = [reader.varint() for _ in range(count)]
    strings = tuple(reader.take(n) for n in lengths)
    reader.end()
    return Container(fingerprint, point, height, width, strings, data[4])


def layered_point(count: int) -> bytes:
    """Operating point of a layered file of `count` strings, 1 to 255."""
    return bytes([_LAYERED, count])


def point_layers(point: bytes) -> int | None:
    """Number of layers that an operating point names; None where it is not that of a layered file."""
    return point[1] if len(point) == 2 and point[0] == _LAYERED else None


def count_layers(content: Container) -> int:
    """Number of layers of a file; raises BitstreamError for what is no layered file."""
    layers = point_layers(content.point)
    if layers is None:
        raise BitstreamError("The file has no layers: only a scalable codec, such as codec=scalable, writes them.")
    if layers != len(content.strings) or layers == 0:
        raise BitstreamError(
            f"The file declares {counted(layers, 'layer')} and holds {len(content.strings)}: it is altered."
        )
    return layers


def truncate(data: bytes, count: int, max_pixels: int = MAX_PIXELS) -> bytes:
    """File of the first `count` layers of a layered file; needs no model, and leaves strings as they are.

    Raises BitstreamError for what is no layered file, or one of fewer layers.
    """
    content = unpack(data, max_pixels)
    layers = count_layers(content)
    if not 1 <= count <= layers:
        raise BitstreamError(f"{counted(count, 'layer', 'was/were')} asked for; the file has {layers}.")
    return pack(replace(content, point=layered_point(count), strings=content.strings[:count]))


def header_bytes(content: Container) -> int:
    """Bytes of a file that are not entropy-coded strings."""
    return len(pack(content)) - sum(map(len, content.strings))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class _Reader:
    """Bounds-checked cursor."""

    def __init__(self, data: bytes, place: int):
        self.data, self.place = data, place

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise BitstreamError("The file is malformed: a field is longer than the file.")
        self.place += count
        return self.data[self.place - count : self.place]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise BitstreamError("The file is malformed: a number is longer than 32 bits.")

    def end(self) -> None:
        if self.place != len(self.data):
            raise BitstreamError("The file is malformed: bytes follow its last string.")
