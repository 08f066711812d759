"""Many items in one file: clouds of a few bytes each, the frames of a video. Written and read while it grows."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from nic_lightning.bitstream.container import MAX_STRINGS, version_of
from nic_lightning.bitstream.fields import (
    JOINED,
    MAGIC,
    MEDIA,
    MEDIUM,
    STREAM,
    VERSION,
    Cursor,
    describe,
    fields,
    read_fields,
    varint,
    write_fields,
)
from nic_lightning.errors import BitstreamError

MAX_STRINGS_OF_BLOCK = 1 << 16
MAX_STRING = 1 << 28
"""Bytes of one string."""
MAX_BLOCK = 1 << 30
"""Bytes of the strings of one block."""
_CRC = 4

Item = tuple[bytes, ...]
"""The strings of one item."""


@dataclass(frozen=True)
class StreamHeader:
    """What all items of a stream have in common. `extent` has the fields of `fields.EXTENTS[medium]`."""

    medium: str
    fingerprint: bytes
    point: bytes
    strings: int
    """Entropy-coded strings of each item, 1 to 256."""
    extent: Mapping[str, int] = field(default_factory=dict)
    version: int = VERSION
    joined: bool = False
    """Whether the items are strings that tell their own ends, and follow each other bit by bit (`joined.py`)."""


class StreamWriter:
    """Appends items to a file; what `flush` wrote is whole.

    Args:
        file: binary file, empty, open for writing.
        header: what the items have in common.
        block: items that are written together: lengths and checksum cost 3 to 10 bytes a block and as many
            bits an item as the longest string of the block needs more than the shortest.
    """

    def __init__(self, file: BinaryIO, header: StreamHeader, block: int = 64):
        if header.joined:
            raise ValueError("Items that follow each other bit by bit are written by JoinedWriter.")
        if not 1 <= header.strings <= MAX_STRINGS or not 1 <= block * header.strings <= MAX_STRINGS_OF_BLOCK:
            raise ValueError(f"An item has 1 to {MAX_STRINGS} strings, a block 1 to {MAX_STRINGS_OF_BLOCK:,} of them.")
        self._file, self._header, self._block = file, header, block
        self._items: list[Item] = []
        file.write(header_bytes(header))

    def add(self, strings: Sequence[bytes]) -> None:
        """One more item; a whole block is written at once."""
        if len(strings) != self._header.strings:
            raise ValueError(f"An item of this stream has {self._header.strings} strings, not {len(strings)}.")
        if max(map(len, strings)) > MAX_STRING:
            raise ValueError(f"A string has at most {MAX_STRING:,} bytes.")
        self._items.append(tuple(strings))
        if len(self._items) == self._block:
            self.flush()

    def flush(self) -> None:
        """Write the items that wait for their block to be full, as a shorter one."""
        if self._items:
            self._file.write(_block_bytes(self._items))
            self._items = []
        self._file.flush()

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


class StreamReader:
    """Items of a stream, one after the other; raises BitstreamError for a file that is none, or has joined items.

    A stream that ends inside a block, since it was cut or is still being written, gives the whole items of that block,
    and `cut` is then True; such items are not covered by a checksum. An altered block raises BitstreamError.

    Args:
        file: binary file, at its beginning.
    """

    joined = False
    """Which of the two kinds of streams is read."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.header = self._read_header()
        self.cut = False
        if self.header.joined != self.joined:
            raise BitstreamError(
                "The items of this stream are coded in another way: decode it with the codec's stream."
            )

    def __iter__(self) -> Iterator[Item]:
        while not self.cut:
            items = self._read_block()
            if items is None:
                return
            yield from items

    def _read_header(self) -> StreamHeader:
        start = self._file.read(6)
        if version_of(start) < 2 or len(start) < 6 or not start[5] & STREAM:
            raise BitstreamError("This .nic file holds a single image, not a stream.")
        medium, joined = start[5] & ~(STREAM | JOINED), bool(start[5] & JOINED)
        if medium >= len(MEDIA):
            raise BitstreamError(f"The file holds {describe(start[5])}.")
        # Longer than any header; what is read too much is read again.
        head = start + self._file.read(1024)
        cursor = Cursor(head, 6)
        found = read_fields(fields(start[4], MEDIA[medium]), cursor)
        strings = cursor.number(MAX_STRINGS)
        end = cursor.place
        if zlib.crc32(head[:end]) != int.from_bytes(cursor.take(_CRC), "little") or not strings:
            raise BitstreamError("The stream's header is altered: its CRC-32 does not match its content.")
        self._ahead = io.BytesIO(head[cursor.place :])
        fingerprint, point = found.pop("fingerprint"), found.pop("point")
        return StreamHeader(MEDIA[medium], fingerprint, point, strings, found, start[4], joined)

    def _take(self, count: int) -> bytes:
        """Up to `count` bytes: fewer where the file ends."""
        data = self._ahead.read(count)
        while len(data) < count and (more := self._file.read(count - len(data))):
            data += more
        return data

    def _read_block(self) -> list[Item] | None:
        head = bytearray(self._take(1))
        if not head:
            return None
        each = self.header.strings
        try:
            count = self._number(head, 0, MAX_STRINGS_OF_BLOCK // each)
            smallest = self._number(head, len(head), MAX_STRING)
            (bits,) = self._exactly(head, 1)
            if not count or bits > MAX_STRING.bit_length():
                raise BitstreamError("The stream is malformed: a block without items, or lengths that are too long.")
            packed = self._exactly(head, _packed_size(count * each, bits))
        except EOFError:
            self.cut = True
            return []
        lengths = [smallest + more for more in _unpacked(packed, count * each, bits)]
        size = sum(lengths)
        if size > MAX_BLOCK:
            raise BitstreamError(f"The stream is malformed: a block of {size:,} bytes.")
        body = self._take(size)
        checksum = self._take(_CRC) if len(body) == size else b""
        self.cut = len(checksum) < _CRC
        if not self.cut and zlib.crc32(bytes(head) + body) != int.from_bytes(checksum, "little"):
            raise BitstreamError("A block of the stream is altered: its CRC-32 does not match its content.")
        return _items(body, lengths, each)

    def _exactly(self, head: bytearray, count: int) -> bytes:
        """The next bytes, added to `head`; EOFError where the file ends before."""
        data = self._take(count)
        head += data
        if len(data) < count:
            raise EOFError
        return data

    def _number(self, head: bytearray, start: int, limit: int) -> int:
        """A varint that begins at `head[start]`, as far as it is not there yet from the file."""
        if len(head) == start:
            self._exactly(head, 1)
        while head[-1] >= 0x80 and len(head) - start < 5:
            self._exactly(head, 1)
        return Cursor(bytes(head[start:])).number(limit)


def header_bytes(header: StreamHeader) -> bytes:
    """What a stream begins with."""
    medium = MEDIA.index(header.medium) | STREAM | (JOINED if header.joined else 0)
    values: dict[str, Any] = {"medium": medium, "fingerprint": header.fingerprint, "point": header.point}
    declared = (MEDIUM, *fields(header.version, header.medium))
    head = (
        MAGIC + bytes([header.version]) + write_fields(declared, values | dict(header.extent)) + varint(header.strings)
    )
    return head + zlib.crc32(head).to_bytes(_CRC, "little")


def _block_bytes(items: Sequence[Item]) -> bytes:
    lengths = [len(string) for item in items for string in item]
    smallest = min(lengths)
    bits = (max(lengths) - smallest).bit_length()
    head = varint(len(items)) + varint(smallest) + bytes([bits]) + _packed([n - smallest for n in lengths], bits)
    body = head + b"".join(string for item in items for string in item)
    return body + zlib.crc32(body).to_bytes(_CRC, "little")


def _packed_size(count: int, bits: int) -> int:
    return -(-count * bits // 8)


def _packed(values: Sequence[int], bits: int) -> bytes:
    """Numbers of `bits` bits each, the lowest bit first."""
    out, waiting, filled = bytearray(), 0, 0
    for value in values:
        waiting |= value << filled
        filled += bits
        whole = filled // 8
        out += (waiting & (1 << 8 * whole) - 1).to_bytes(whole, "little")
        waiting, filled = waiting >> 8 * whole, filled - 8 * whole
    return bytes(out) + waiting.to_bytes(-(-filled // 8), "little")


def _unpacked(data: bytes, count: int, bits: int) -> Iterator[int]:
    """Inverse of `_packed`."""
    for place in range(0, count * bits, bits) if bits else [0] * count:
        yield int.from_bytes(data[place // 8 : place // 8 + 5], "little") >> place % 8 & (1 << bits) - 1


def _items(body: bytes, lengths: Sequence[int], each: int) -> list[Item]:
    """Whole items in the bytes of a block, which may be fewer than `lengths` say."""
    strings: list[bytes] = []
    place = 0
    for length in lengths:
        if place + length > len(body):
            break
        strings.append(body[place : place + length])
        place += length
    whole = len(strings) // each * each
    return [tuple(strings[i : i + each]) for i in range(0, whole, each)]
