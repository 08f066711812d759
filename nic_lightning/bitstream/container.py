"""One input in one file: an image, or what else a medium has."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

from nic_lightning.bitstream.fields import (
    FINGERPRINT_BYTES,
    JOINED,
    MAGIC,
    MAX_PIXELS,
    MEDIA,
    MEDIUM,
    STREAM,
    VERSION,
    Cursor,
    article,
    describe,
    fields,
    read_fields,
    varint,
    write_fields,
)
from nic_lightning.errors import BitstreamError, counted

MAX_STRINGS = 256
_LAYERED = ord("L")
_IMAGE = MEDIA.index("image")


@dataclass(frozen=True)
class Container:
    """Content of a file: operating point as the codec wrote it, true image size in pixels, entropy-coded strings.

    Of a medium without a size, such as clouds, height and width are 0 and not in the file.
    """

    fingerprint: bytes
    point: bytes
    height: int
    width: int
    strings: tuple[bytes, ...]
    version: int = VERSION
    medium: str = "image"


def pack(content: Container) -> bytes:
    """Bytes of a file, of the version that its content has."""
    values = vars(content) | {"medium": MEDIA.index(content.medium)}
    declared = fields(content.version, content.medium)
    head = MAGIC + bytes([content.version])
    head += write_fields(declared if content.version == 1 else (MEDIUM, *declared), values)
    told = content.strings if content.version == 1 else content.strings[:-1]
    head += varint(len(content.strings)) + b"".join(varint(len(s)) for s in told)
    body = head + b"".join(content.strings)
    return body + zlib.crc32(body).to_bytes(4, "little")


def unpack(data: bytes, max_pixels: int = MAX_PIXELS, medium: str = "image") -> Container:
    """Inverse of `pack` for files of a medium.

    Raises `BitstreamError` with one sentence for anything else, before allocating memory.
    """
    version = version_of(data)
    found_medium = data[5] if version > 1 and len(data) > 5 else _IMAGE
    if found_medium != MEDIA.index(medium):
        raise BitstreamError(
            f"The file holds {describe(found_medium)}, not {article(medium)}; the codec that wrote it decodes it."
        )
    if len(data) < 5 + FINGERPRINT_BYTES + 6 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise BitstreamError("The file is cut or altered: its CRC-32 does not match its content.")
    cursor = Cursor(data[:-4], 5 if version == 1 else 6)
    found: dict[str, Any] = {"height": 0, "width": 0} | read_fields(fields(version, medium), cursor)
    if medium == "image":
        _require_size(found["height"], found["width"], max_pixels)
    count = cursor.number()
    if count > MAX_STRINGS:
        raise BitstreamError(f"The file declares {count} strings; at most {MAX_STRINGS} are possible.")
    told = count if version == 1 else max(0, count - 1)
    lengths = [cursor.number() for _ in range(told)]
    strings = tuple(cursor.take(n) for n in lengths)
    if told < count:
        strings += (cursor.rest(),)
    cursor.end()
    return Container(**found, strings=strings, version=version, medium=medium)


def _require_size(height: int, width: int, max_pixels: int) -> None:
    if not 0 < height * width <= max_pixels:
        raise BitstreamError(
            f"The file declares an image of {height}x{width}; sizes from 1 to {max_pixels} pixels are decoded."
        )


def look(data: bytes) -> None:
    """Raise BitstreamError for what is no .nic file; of one that holds no single image, its codec judges the rest."""
    if version_of(data) == 1 or len(data) < 6 or data[5] == _IMAGE:
        unpack(data)


def version_of(data: bytes) -> int:
    """Format version of a file's first bytes; raises BitstreamError for a foreign file and an unknown version."""
    if data[:4] != MAGIC:
        raise BitstreamError('This is not a .nic file: it does not start with "NIC1".')
    if len(data) < 5 or not 1 <= data[4] <= VERSION:
        raise BitstreamError(
            f"Unknown .nic version {data[4] if len(data) > 4 else '(missing)'}; this decoder reads 1 to {VERSION}."
        )
    return data[4]


def made_by(data: bytes) -> tuple[str, bytes]:
    """Medium and fingerprint in the header of a file, of one input or of a stream; the rest is not looked at.

    Raises BitstreamError for what is no .nic file, is cut, or is of a medium that is unknown here.
    """
    first = 5 if version_of(data) == 1 else 6
    kind = data[5] & ~(STREAM | JOINED) if first == 6 and len(data) > 5 else _IMAGE
    if len(data) < first + FINGERPRINT_BYTES:
        raise BitstreamError("The file is cut: it ends within its header.")
    if kind >= len(MEDIA):
        raise BitstreamError(f"The file holds {describe(kind)}.")
    return MEDIA[kind], data[first : first + FINGERPRINT_BYTES]


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
