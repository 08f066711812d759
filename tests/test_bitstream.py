from __future__ import annotations

import dataclasses
import random
import time
import zlib

import pytest

from nic_lightning.bitstream import (
    MAX_PIXELS,
    MAX_STRINGS,
    Container,
    header_bytes,
    layered_point,
    made_by,
    pack,
    point_layers,
    truncate,
    unpack,
)
from nic_lightning.bitstream.fields import varint
from nic_lightning.errors import BitstreamError

CONTENT = Container(b"12345678", b"\x03", 512, 769, (b"first" * 30, b"", b"third"))


def sealed(body: bytes) -> bytes:
    """A body with the CRC that fits it."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def header(*fields: int, point: bytes = b"") -> bytes:
    """Start of a file, then varints."""
    start = b"NIC1\x01" + b"12345678" + varint(len(point)) + point
    return start + b"".join(map(varint, fields))


@pytest.mark.parametrize(
    "content",
    [
        CONTENT,
        Container(b"\0" * 8, b"", 1, 1, ()),
        Container(b"\0" * 8, b"", 1, 1, (), version=1),
        Container(b"\xff" * 8, bytes(range(200)), 4096, 8192, (b"x" * 70_000,)),
        Container(b"abcdefgh", b"", 127, 128, tuple(bytes([i]) * i for i in range(MAX_STRINGS))),
    ],
)
def test_round_trip(content):
    assert unpack(pack(content)) == content


def test_layout_is_the_documented_one():
    data = pack(Container(b"12345678", b"\x07", 300, 2, (b"ab", b"c")))
    extent = b"\xac\x02" + b"\x02"
    body = b"NIC1" + b"\x02" + b"\x00" + b"12345678" + b"\x01\x07" + extent + b"\x02" + b"\x02" + b"abc"
    assert data == sealed(body)
    old = pack(Container(b"12345678", b"\x07", 300, 2, (b"ab", b"c"), version=1))
    assert old == sealed(b"NIC1" + b"\x01" + b"12345678" + b"\x01\x07" + extent + b"\x02" + b"\x02\x01" + b"abc")
    assert header_bytes(unpack(data)) == len(data) - 3


def test_a_file_is_not_longer_than_in_version_1():
    for strings in ((b"",), (b"x" * 200,), (b"x", b"y" * 70_000), (b"",) * 9):
        new = Container(b"12345678", b"\x01", 512, 768, strings)
        assert len(pack(new)) <= len(pack(dataclasses.replace(new, version=1)))


def test_a_header_is_small():
    assert header_bytes(Container(b"12345678", b"", 512, 768, (b"x" * 20_000,))) <= 26


def test_layers_are_dropped_from_the_end():
    strings = (b"base" * 50, b"", b"more", b"most" * 9)
    layered = Container(b"12345678", layered_point(4), 300, 200, strings, version=1)
    for count in range(1, 5):
        short = truncate(pack(layered), count)
        expected = dataclasses.replace(layered, point=layered_point(count), strings=strings[:count])
        assert short == pack(expected)
        assert point_layers(unpack(short).point) == count
    for point in (b"", b"L", b"\x02\x04", b"L\x04\x04", b"l\x04"):
        assert point_layers(point) is None
        with pytest.raises(BitstreamError, match="has no layers"):
            truncate(pack(dataclasses.replace(layered, point=point)), 1)
    with pytest.raises(BitstreamError, match="declares 9 layers and holds 4"):
        truncate(pack(dataclasses.replace(layered, point=layered_point(9))), 1)
    with pytest.raises(BitstreamError, match="0 layers were asked for; the file has 4"):
        truncate(pack(layered), 0)


def test_every_truncation_and_extension_is_refused():
    data = pack(CONTENT)
    for cut in range(len(data)):
        with pytest.raises(BitstreamError):
            unpack(data[:cut])
    for extra in (b"\0", b"\xff\xff", data):
        with pytest.raises(BitstreamError):
            unpack(data + extra)


def test_every_flipped_bit_is_noticed():
    data = pack(CONTENT)
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(BitstreamError):
                unpack(bytes(damaged))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a .nic file"),
        (b"NIC", "not a .nic file"),
        (b"\x89PNG\r\n\x1a\n", "not a .nic file"),
        (b"NIC1", "version"),
        (b"NIC1\x03" + bytes(40), "version 3"),
        (b"NIC1\x00" + bytes(40), "version 0"),
        (b"NIC1\x01" + bytes(40), "CRC"),
        (sealed(header(512, 512, 1, 100) + b"short"), "longer than the file"),
        (sealed(header(512, 512, 1, 3) + b"toolong"), "follow its last string"),
        (sealed(header(512, 512, MAX_STRINGS + 1) + bytes(300)), "strings"),
        (sealed(header(0, 512, 0)), "0x512"),
        (sealed(header(512, 0, 0) + b"\0\0"), "512x0"),
        (sealed(header(2**31, 2**31, 0)), "declares an image"),
        (sealed(header(MAX_PIXELS + 1, 1, 0)), "declares an image"),
        (sealed(b"NIC1\x01" + b"12345678" + b"\xff" * 5 + bytes(9)), "longer than 32 bits"),
        (sealed(b"NIC1\x01" + b"12345678" + b"\x00" + b"\x80" * 40), "longer than 32 bits"),
        (sealed(b"NIC1\x01" + b"12345678" + varint(2**34) + bytes(9)), "longer than the file"),
    ],
)
def test_malformed_files_with_a_fitting_crc(data, reason):
    with pytest.raises(BitstreamError, match=reason) as error:
        unpack(data)
    assert "\n" not in str(error.value)


def test_the_caller_may_allow_more_or_fewer_pixels():
    large = pack(dataclasses.replace(CONTENT, height=2**14, width=2**15))
    with pytest.raises(BitstreamError):
        unpack(large)
    assert unpack(large, max_pixels=2**29).height == 2**14
    with pytest.raises(BitstreamError):
        unpack(pack(CONTENT), max_pixels=512 * 769 - 1)
    assert unpack(pack(CONTENT), max_pixels=512 * 769) == CONTENT


def test_random_and_resealed_bytes_end_in_an_error_or_a_container():
    rng = random.Random(0)
    original = pack(CONTENT)
    start, accepted = time.process_time(), 0
    for _ in range(5000):
        body = bytearray(original[:-4] if rng.random() < 0.7 else b"NIC1\x01" + rng.randbytes(rng.randrange(80)))
        for _ in range(rng.randrange(4)):
            body[rng.randrange(5, len(body)) if len(body) > 5 else 0] = rng.randrange(256)
        data = sealed(bytes(body))
        try:
            content = unpack(data)
        except BitstreamError:
            continue
        accepted += 1
        assert 0 < content.height * content.width <= MAX_PIXELS
        assert sum(map(len, content.strings)) < len(data)
    assert accepted > 100
    assert time.process_time() - start < 10


def test_who_made_a_file_stands_in_its_header():
    assert made_by(pack(CONTENT)) == ("image", CONTENT.fingerprint)
    assert made_by(pack(dataclasses.replace(CONTENT, version=1))) == ("image", CONTENT.fingerprint)
    cloud = dataclasses.replace(CONTENT, medium="cloud", height=0, width=0)
    assert made_by(pack(cloud)) == ("cloud", CONTENT.fingerprint)
    streamed = bytearray(pack(cloud))
    streamed[5] |= 0x80 | 0x40
    assert made_by(bytes(streamed)) == ("cloud", CONTENT.fingerprint)
    unknown = bytearray(pack(cloud))
    unknown[5] = 9
    for data, reason in (
        (b"", "not a .nic file"),
        (pack(CONTENT)[:9], "it ends within its header"),
        (bytes(unknown), "medium 9"),
    ):
        with pytest.raises(BitstreamError, match=reason):
            made_by(data)
