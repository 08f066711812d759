"""`encode` and `decode` of learned and classic codecs, and the point that is taken where none is named."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.choosing import default_point, wished_point
from nic_lightning.codecs.translation import UI2ICodec
from nic_lightning.errors import BitstreamError, DataError, UserError
from nic_lightning.media.image.memory import to_pixels

TRANSLATION: dict[str, Any] = {
    "domains": ["cat", "dog"], "base": 4, "widest": 8, "latents": 6, "hyper": 4, "halvings": 2, "size": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def codec(make_codec):
    return make_codec("modulated", lambdas=[64.0, 512.0, 4096.0])


@pytest.fixture(scope="module")
def photo(picture) -> np.ndarray:
    return to_pixels(picture(33, 50)[0])


def test_there_and_back_in_every_kind(codec, photo) -> None:
    data = codec.encode(photo, point=512)
    assert codec.encode(Image.fromarray(photo), point="512") == data
    x = torch.from_numpy(photo).permute(2, 0, 1) / 255
    assert codec.encode(x, point=codec.operating_points[1]) == data
    array = codec.decode(data, "numpy")
    assert (array.dtype, array.shape) == (np.uint8, photo.shape)
    assert np.array_equal(np.asarray(codec.decode(data)), array)
    tensor = codec.decode(data, "torch")
    point = codec.operating_points[1]
    assert torch.equal(tensor, codec.decompress(codec.compress(x[None], point), point)[0])
    assert np.array_equal(to_pixels(tensor), array)
    for held in (bytearray(data), memoryview(data)):
        assert np.array_equal(codec.decode(held, "numpy"), array)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_default_is_the_middle_point(make_codec, photo, count: int) -> None:
    codec = make_codec("modulated", lambdas=[64.0 * 4**k for k in range(count)])
    point = codec.operating_points[{1: 0, 2: 1, 3: 1, 4: 2}[count]]
    assert codec.default_point == default_point(codec) == point
    assert codec.unpack(codec.encode(photo))[1] == point


def test_points_are_found_by_label_lambda_and_themselves(codec) -> None:
    points = codec.operating_points
    for wish in ("512", 512, 512.0, np.float64(512), points[1]):
        assert wished_point(codec, wish) == points[1]
    between = codec.point_at(1000.0)
    assert between.index < 0
    for wish in ("1000", 1000, 1000.0, between):
        assert wished_point(codec, wish) == between
    assert wished_point(Jpeg([10, 50]), "q10").quality == 10


def test_targets_are_met_or_warned_of(make_codec, photo) -> None:
    codec = make_codec("slimmable", widths=[4, 16], lambdas=500.0)
    files = [codec.encode(photo, point=p) for p in codec.operating_points]
    assert len(files[1]) > 1.05 * len(files[0])
    for data in files:
        assert codec.encode(photo, bpp=8 * len(data) / photo[..., 0].size) == data
    with pytest.warns(UserWarning, match="not 99 dB; the nearest gives") as caught:
        codec.encode(photo, psnr=99)
    assert caught[0].filename == __file__


def test_what_an_image_loses_is_warned_of(codec, photo) -> None:
    clear = Image.fromarray(photo).convert("RGBA")
    clear.putpixel((0, 0), (9, 9, 9, 0))
    with pytest.warns(UserWarning, match="^Transparency was put on black.$"):
        codec.encode(clear)
    with pytest.warns(UserWarning, match="^16 bits a channel were cut to 8.$"):
        codec.encode(photo.astype(np.uint16) * 257)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.encode(Image.fromarray(photo).convert("L"))


def test_classic_codecs_have_it_too(photo) -> None:
    codec = Jpeg([10, 50, 90])
    data = codec.encode(photo)
    assert data == codec.encode(photo, point="q50")
    assert data.startswith(b"\xff\xd8")
    assert codec.decode(data, "numpy").shape == photo.shape
    with pytest.raises(UserError, match="not 99 dB"):
        codec.encode(photo, psnr=99)
    with pytest.raises(DataError, match="too large for jpeg"):
        codec.encode(np.zeros((1, 70_000, 3), np.uint8))


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"point": "low"}, "no operating point 'low'; there are: 64, 512, 4096"),
        ({"point": 9}, "lambda 9 is outside"),
        ({"point": float("nan")}, "outside"),
        ({"point": OperatingPoint(0, "w8", width=8)}, "no operating point 'w8' like that: it is of another codec"),
        ({"point": "64", "bpp": 1.0}, "one of point, bpp, psnr, quality and max_bytes, not point and bpp"),
        ({"bpp": 1.0, "psnr": 30.0}, "not bpp and psnr"),
        ({"bpp": 0}, "not a positive number"),
        ({"psnr": float("nan")}, "not a positive number"),
    ],
)
def test_wishes_that_make_no_sense(codec, photo, wishes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        codec.encode(photo, **wishes)


def test_what_is_no_file_and_no_image(codec, photo) -> None:
    data = codec.encode(photo)
    for wrong in (b"", data[:-3], b"x" * 100):
        with pytest.raises(BitstreamError):
            codec.decode(wrong)
    with pytest.raises(UserError, match=r"takes the bytes of a file, not str: Path\(...\).read_bytes\(\)"):
        codec.decode("photo.nic")
    with pytest.raises(UserError, match="no kind of image 'jpeg'"):
        codec.decode(data, "jpeg")
    with pytest.raises(DataError, match="type str is no image"):
        codec.encode("photo.png")


def test_an_image_that_is_too_large_is_refused_before_it_is_loaded(codec, monkeypatch) -> None:
    image = Image.new("L", (2**14, 2**14 + 1))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the image was loaded"))
    with pytest.raises(UserError, match=r"16385x16384 is too large for one \.nic file: cut it into tiles"):
        codec.encode(image)


def test_codecs_of_tasks_take_a_named_one_and_a_style(photo) -> None:
    codec = UI2ICodec(**TRANSLATION).eval()
    codec.update_tables()
    for wishes, sentence in (({}, "name one"), ({"bpp": 1.0}, "one rate for each task")):
        with pytest.raises(UserError, match=sentence) as error:
            codec.encode(photo, **wishes)
        assert "(translate, autoencode)" in str(error.value)
    assert codec.decode(codec.encode(photo, point="autoencode"), "numpy").shape == photo.shape
    data = codec.encode(photo, point="translate")
    with pytest.raises(UserError, match="style= in Python"):
        codec.decode(data)
    style = codec.random_styles("dog", 1)
    assert codec.decode(data, "numpy", style=style).shape == photo.shape
    with pytest.raises(UserError, match="has no bottleneck"):
        UI2ICodec(**TRANSLATION, decoder_input="continuous").encode(photo, point="translate")
