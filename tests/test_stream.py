from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pytest

from nic_lightning import bitstream
from nic_lightning.bitstream import (
    Container,
    JoinedReader,
    JoinedWriter,
    StreamHeader,
    StreamReader,
    StreamWriter,
    stream,
)
from nic_lightning.errors import BitstreamError

CLOUDS = StreamHeader("cloud", b"12345678", b"\x02", strings=1)
VIDEO = StreamHeader(
    "video", b"87654321", b"", strings=2, extent={"height": 480, "width": 640, "rate": 30_000, "per": 1001}
)


def written(header: StreamHeader, items: list[tuple[bytes, ...]], block: int = 64) -> bytes:
    file = io.BytesIO()
    with StreamWriter(file, header, block) as writer:
        for item in items:
            writer.add(item)
    return file.getvalue()


def read(data: bytes) -> tuple[list[tuple[bytes, ...]], bool]:
    reader = StreamReader(io.BytesIO(data))
    return list(reader), reader.cut


def clouds(count: int, sizes: tuple[int, int], seed: int = 0) -> list[tuple[bytes, ...]]:
    draw = random.Random(seed)
    return [(draw.randbytes(draw.randint(*sizes)),) for _ in range(count)]


@pytest.mark.parametrize("sizes", [(4, 4), (0, 1), (0, 300), (1000, 1001)])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 200])
def test_items_come_back(count, sizes):
    items = clouds(count, sizes)
    assert read(written(CLOUDS, items)) == (items, False)


def test_the_header_says_what_all_items_have_in_common():
    frames = [(b"motion", b"residual" * k) for k in range(5)]
    data = written(VIDEO, frames, block=1)
    reader = StreamReader(io.BytesIO(data))
    assert reader.header == VIDEO
    assert list(reader) == frames
    assert data[:6] == b"NIC1\x02\x82"


def test_a_thousand_clouds_of_four_bytes_cost_less_than_a_byte_each():
    items = clouds(1000, (4, 4))
    assert len(written(CLOUDS, items)) - 4 * 1000 <= 200
    mixed = clouds(1000, (1, 12))
    assert len(written(CLOUDS, mixed)) - sum(len(item[0]) for item in mixed) <= 1000


@pytest.mark.parametrize("header", [CLOUDS, VIDEO])
def test_a_stream_that_is_cut_at_any_byte_gives_its_whole_items(header):
    draw = random.Random(1)
    items = [tuple(draw.randbytes(draw.randint(0, 9)) for _ in range(header.strings)) for _ in range(20)]
    data = written(header, items, block=8)
    blocks = [len(written(header, items[:count], block=8)) for count in (0, 8, 16, 20)]
    given = []
    for end in range(blocks[0], len(data)):
        found, cut = read(data[:end])
        assert found == items[: len(found)]
        assert cut == (end not in blocks)
        given.append(len(found))
        whole = sum(8 for place in blocks[1:3] if place <= end)
        assert len(found) >= whole
    assert given == sorted(given)
    assert set(given) >= {0, 8, 16, 20}
    assert len(set(given)) > 15  # not whole blocks only
    for end in range(blocks[0]):
        with pytest.raises(BitstreamError):
            read(data[:end])


def test_a_stream_is_read_while_it_grows(tmp_path):
    path = tmp_path / "clip.nic"
    with path.open("wb") as file:
        writer = StreamWriter(file, VIDEO, block=2)
        for k in range(3):
            writer.add((b"a" * k, b"b"))
        assert read(path.read_bytes())[0] in ([(b"", b"b"), (b"a", b"b")], [])  # what is in buffers may not be there
        writer.flush()
        assert read(path.read_bytes()) == ([(b"", b"b"), (b"a", b"b"), (b"aa", b"b")], False)


def test_every_altered_byte_is_noticed():
    data = bytearray(written(CLOUDS, clouds(10, (0, 9)), block=4))
    whole = read(bytes(data))
    for place in range(len(data)):
        altered = data.copy()
        altered[place] ^= 0x55
        try:
            found = read(bytes(altered))
        except BitstreamError:
            continue
        assert found != whole
        assert found[1]  # a length that reaches beyond the end: it looks cut


def test_hostile_blocks_take_neither_memory_nor_time(monkeypatch):
    start = written(CLOUDS, [])
    for block in (
        b"\xff\xff\xff\xff\x7f",  # more items than a block may have
        b"\x00\x00\x00",
        b"\x01\x00\x40",  # lengths of 64 bits
        b"\x80\x80\x04" + bitstream.fields.varint(stream.MAX_STRING) + b"\x00",
        b"\xff" * 20,
    ):
        with pytest.raises(BitstreamError, match="malformed"):
            read(start + block + bytes(100))


def test_images_and_streams_are_told_apart():
    image = bitstream.pack(Container(b"12345678", b"", 4, 5, (b"abc",)))
    with pytest.raises(BitstreamError, match="a single image, not a stream"):
        StreamReader(io.BytesIO(image))
    with pytest.raises(BitstreamError, match="a single image"):
        StreamReader(io.BytesIO(bitstream.pack(Container(b"12345678", b"", 4, 5, (b"abc",), version=1))))
    with pytest.raises(BitstreamError, match="a stream of the medium cloud, not an image"):
        bitstream.unpack(written(CLOUDS, clouds(3, (9, 9))))
    with pytest.raises(BitstreamError, match="does not start"):
        StreamReader(io.BytesIO(b"PNG"))


@pytest.mark.parametrize("wrong", [[b"a", b"b"], []])
def test_items_of_another_number_of_strings_are_refused(wrong):
    with pytest.raises(ValueError, match="has 1 strings"):
        StreamWriter(io.BytesIO(), CLOUDS).add(wrong)


JOINED = replace(CLOUDS, joined=True)


def bits_of(text: str) -> np.ndarray:
    return np.array(list(map(int, text)), np.uint8)


def unary(count: int, seed: int = 0) -> list[str]:
    """Items that tell their own ends: ones, and a zero."""
    draw = random.Random(seed)
    return ["1" * draw.randint(0, 40) + "0" for _ in range(count)]


def joined(items: list[str], block: int = 64) -> bytes:
    file = io.BytesIO()
    with JoinedWriter(file, JOINED, block) as writer:
        for item in items:
            writer.add(bits_of(item))
    return file.getvalue()


def split(data: bytes) -> tuple[list[str], bool]:
    reader, items = JoinedReader(io.BytesIO(data)), []
    for block in reader:
        text = "".join(f"{byte:08b}" for byte in block.body)
        parts = [part + "0" for part in text.split("0")][: block.count]
        items += parts if block.whole else []
    return items, reader.cut


@pytest.mark.parametrize("count", [0, 1, 64, 65, 200])
def test_joined_items_come_back(count):
    items = unary(count)
    assert split(joined(items)) == (items, False)
    assert JoinedReader(io.BytesIO(joined(items))).header == JOINED


def test_joined_items_share_less_than_a_bit_each_of_what_is_no_string():
    items = unary(64 * 15)
    header = len(joined([]))
    assert 8 * (len(joined(items)) - header) - sum(map(len, items)) < len(items)


def test_a_joined_stream_may_be_cut_and_not_altered():
    items = unary(40)
    data, whole = joined(items, block=16), split(joined(items, block=16))
    for end in range(len(joined([])), len(data)):
        reader = JoinedReader(io.BytesIO(data[:end]))
        blocks = list(reader)
        assert sum(block.count for block in blocks if block.whole) in (0, 16, 32)
        assert reader.cut or end in {len(joined(items[:count], block=16)) for count in (0, 16, 32)}
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= 0x55
        try:
            found = split(bytes(altered))
        except BitstreamError:
            continue
        assert found != whole
        assert found[1]


def test_joined_and_other_streams_are_told_apart():
    with pytest.raises(BitstreamError, match="coded in another way"):
        read(joined(unary(3)))
    with pytest.raises(BitstreamError, match="coded in another way"):
        split(written(CLOUDS, clouds(3, (1, 4))))
    with pytest.raises(BitstreamError, match="a stream of the medium cloud, not an image"):
        bitstream.unpack(joined(unary(3)))
    for wrong in (CLOUDS, replace(JOINED, strings=2)):
        with pytest.raises(ValueError, match="one string each"):
            JoinedWriter(io.BytesIO(), wrong)
    with pytest.raises(ValueError, match="JoinedWriter"):
        StreamWriter(io.BytesIO(), JOINED)


def test_hostile_joined_blocks_are_refused():
    for block in (b"\x00\x05abcde", b"\xff\xff\x7f\x01", b"\x01\xff\xff\xff\x7f", b"\xff" * 20):
        with pytest.raises(BitstreamError, match="malformed"):
            split(joined([]) + block + bytes(100))


def test_a_cloud_in_a_file_of_its_own_has_no_size():
    content = Container(b"12345678", b"", 0, 0, (b"abc",), medium="cloud")
    data = bitstream.pack(content)
    assert bitstream.unpack(data, medium="cloud") == content
    assert len(data) == 20 + 3
    assert not bitstream.is_stream(data)
    assert bitstream.is_stream(joined([]))
    with pytest.raises(BitstreamError, match="holds the medium cloud, not an image"):
        bitstream.unpack(data)
    with pytest.raises(BitstreamError, match="holds the medium image, not a cloud"):
        bitstream.unpack(bitstream.pack(Container(b"12345678", b"", 4, 5, (b"abc",))), medium="cloud")
