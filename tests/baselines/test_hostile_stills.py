"""Files of still-image formats that are foreign, damaged, too large or lie: each ends in a sentence."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import pytest
from PIL import Image

from nic_lightning.baselines import still
from nic_lightning.baselines.heif import HevcIntra
from nic_lightning.baselines.still import StillImageCodec
from nic_lightning.codecs.base import Encoded
from nic_lightning.errors import BitstreamError, DataError
from tests.baselines.samples import CODECS, packed, picture


def test_pictures_too_large(codec, monkeypatch):
    data = packed(codec, picture())
    monkeypatch.setattr(still, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match="too large"):
        packed(codec, picture())
    with pytest.raises(BitstreamError, match="65x33 pixels"):
        codec.unpack(data)
    with pytest.raises(BitstreamError, match="65x33 pixels"):
        codec.decompress(Encoded(((data,),), (33, 65)), codec.operating_points[0])
    monkeypatch.setattr(still, "MAX_BYTES", 10)
    with pytest.raises(BitstreamError, match="more than this codec reads"):
        codec.unpack(data)


def foreign_files() -> Iterator[tuple[str, bytes]]:
    def saved(kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40), (200, 30, 90)).save(buffer, format=kind, **options)
        return buffer.getvalue()

    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    yield "empty", b""
    yield "text", b"hello"
    yield "png", saved("PNG")
    yield "gif", saved("GIF")
    yield "animated webp", saved("WEBP", save_all=True, append_images=frames)
    yield "animated avif", saved("AVIF", save_all=True, append_images=frames)
    yield "several", saved("MPO", save_all=True, append_images=frames)
    yield "boxed jpeg2000", saved("JPEG2000")
    yield "tiled jpeg2000", saved("JPEG2000", no_jp2=True, tile_size=(16, 16))
    yield "jpeg2000 with precincts of a pixel", saved("JPEG2000", no_jp2=True, precinct_size=(64, 64))
    for name, make in CODECS.items():
        data = packed(make(), picture(40, 40))
        yield f"cut {name}", data[: len(data) // 2]
        if name != "jpegxl":
            yield f"longer {name}", data + b"more"
    yield "head", b"\xff\xd8\xff\xd9\xff\xd9"
    yield "riff", b"RIFF\x04\x00\x00\x00WEBP"
    yield "box", b"\0\0\0\x0cftypavif"
    yield "siz", b"\xff\x4f\xff\x51\0\2\xff\x90"


@pytest.fixture(scope="module")
def foreign() -> dict[str, bytes]:
    return dict(foreign_files())


def refusal(codec: StillImageCodec, data: bytes) -> str | None:
    """The sentence with which a file is refused; None when it decodes."""
    try:
        codec.decompress(codec.unpack(data)[0], codec.operating_points[0])
    except BitstreamError as error:
        return str(error) if "\n" not in str(error) else None
    return None


def test_foreign_files_are_refused(codec, foreign):
    """By the header, or where a codestream has no length in it, by the decoder."""
    for name, data in foreign.items():
        assert refusal(codec, data), f"{codec.name} took {name}"


def test_damaged_files_end_in_an_error_or_a_picture(codec):
    """Flipped, cut and random bytes: BitstreamError or a picture of the header's size."""
    data = packed(codec, picture())
    chance = random.Random(0)
    point = codec.operating_points[0]
    errors = 0
    for _ in range(300):
        bad = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        if chance.random() < 0.3:
            start = chance.randrange(len(bad))
            del bad[start : start + chance.randint(1, 50)]
        try:
            encoded, _ = codec.unpack(bytes(bad))
            assert codec.decompress(encoded, point).shape == (1, 3, *encoded.shape)
        except BitstreamError:
            errors += 1
    assert errors > 10


def test_a_file_cut_after_unpacking_is_refused_by_the_decoder(codec):
    data = packed(codec, picture(200, 200))
    with pytest.raises(BitstreamError):
        codec.decompress(Encoded(((data[: len(data) // 3],),), (200, 200)), codec.operating_points[0])


def test_a_picture_of_another_size_than_the_header_claims_is_refused(codec):
    data = packed(codec, picture(200, 200))
    with pytest.raises(BitstreamError, match="another size"):
        codec.decompress(Encoded(((data,),), (100, 200)), codec.operating_points[0])


def test_a_header_that_claims_a_small_picture_over_a_large_one():
    """libheif compares the size of the box with the coded one before it decodes."""
    codec = HevcIntra([10])
    data = bytearray(packed(codec, picture(512, 512)))
    box = data.index(b"ispe") + 8
    data[box : box + 8] = (64).to_bytes(4, "big") * 2
    encoded, _ = codec.unpack(bytes(data))
    assert encoded.shape == (64, 64)
    with pytest.raises(BitstreamError):
        codec.decompress(encoded, codec.operating_points[0])
