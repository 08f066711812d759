"""Streams of items of a few bits each, which follow each other bit by bit and tell their own ends.

A length would take as much as a point cloud of 30 bits. So items come in blocks, by default of 64, and only a block has
a length, a checksum and whole bytes: not a bit for each item. A reader steps from block to block without decoding any.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from nic_lightning.bitstream.container import version_of
from nic_lightning.bitstream.fields import STREAM, varint
from nic_lightning.bitstream.stream import StreamHeader, StreamReader, header_bytes
from nic_lightning.errors import BitstreamError

if TYPE_CHECKING:
    import numpy as np

BLOCK = 64
"""Items of a block."""
MAX_ITEMS = 1 << 12
MAX_BODY = 1 << 24
"""Bytes of the strings of one block."""


@dataclass(frozen=True)
class JoinedBlock:
    """Strings of `count` items, the last byte filled up with zeros; of a stream that is cut perhaps not all of them."""

    count: int
    body: bytes
    whole: bool


class JoinedWriter:
    """Appends items to a file; what `flush` wrote is whole.

    Args:
        file: binary file, empty, open for writing.
        header: what the items have in common; `joined` is set, and there is one string an item.
        block: items that are written together. The 6 to 9 bytes of a block that are no strings are shared by them.
    """

    def __init__(self, file: BinaryIO, header: StreamHeader, block: int = BLOCK):
        if not header.joined or header.strings != 1 or not 1 <= block <= MAX_ITEMS:
            raise ValueError(f"Joined items have one string each, a block 1 to {MAX_ITEMS:,} of them.")
        self._file, self._block = file, block
        self._items: list[np.ndarray] = []
        file.write(header_bytes(header))

    def add(self, bits: np.ndarray) -> None:
        """One more item, as bits (uint8, 0 or 1) that tell their own end; a whole block is written at once."""
        self._items.append(bits)
        if len(self._items) == self._block:
            self.flush()

    def flush(self) -> None:
        """Write the items that wait for their block to be full, as a shorter one."""
        if self._items:
            import numpy as np  # what only looks at files takes none

            body = np.packbits(np.concatenate(self._items)).tobytes()
            if len(body) > MAX_BODY:
                raise ValueError(f"A block has at most {MAX_BODY:,} bytes of strings.")
            data = varint(len(self._items)) + varint(len(body)) + body
            self._file.write(data + zlib.crc32(data).to_bytes(4, "little"))
            self._items = []
        self._file.flush()

    def __enter__(self) -> JoinedWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


class JoinedReader(StreamReader):
    """Blocks of a joined stream, one after the other; raises BitstreamError for a file that is none.

    A stream that ends inside a block gives what is there of it, not covered by a checksum; `cut` is then True.
    """

    joined = True

    def __iter__(self) -> Iterator[JoinedBlock]:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self.cut:
            block = self._read_joined()
            if block is None:
                return
            yield block

    def _read_joined(self) -> JoinedBlock | None:
        head = bytearray(self._take(1))
        if not head:
            return None
        try:
            count = self._number(head, 0, MAX_ITEMS)
            size = self._number(head, len(head), MAX_BODY)
        except EOFError:
            self.cut = True
            return None
        if not count:
            raise BitstreamError("The stream is malformed: a block without items.")
        body = self._take(size)
        checksum = self._take(4) if len(body) == size else b""
        self.cut = len(checksum) < 4
        if not self.cut and zlib.crc32(bytes(head) + body) != int.from_bytes(checksum, "little"):
            raise BitstreamError("A block of the stream is altered: its CRC-32 does not match its content.")
        return JoinedBlock(count, body, not self.cut)


def is_stream(data: bytes) -> bool:
    """Whether a file's first bytes say that it is a stream; raises BitstreamError for what is no .nic file."""
    return version_of(data) > 1 and len(data) > 5 and bool(data[5] & STREAM)
