from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.baselines import pillow
from nic_lightning.baselines.pillow import Jpeg, PillowCodec, WebP
from nic_lightning.codecs.base import Encoded, ImageCodec, OperatingPoint
from nic_lightning.errors import BitstreamError, DataError, UserError
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.fidelity import psnr
from nic_lightning.runs.results import mean

CODECS = [Jpeg, WebP]


def picture(height: int = 33, width: int = 65) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def packed(codec: PillowCodec, x: torch.Tensor, index: int = 0) -> bytes:
    point = codec.operating_points[index]
    return codec.pack(codec.compress(x, point), point)


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("size", [(1, 1), (17, 3), (33, 65)])
def test_round_trip(kind, size):
    codec = kind([10, 95])
    assert isinstance(codec, ImageCodec)
    x = picture(*size)
    sizes = []
    for point in codec.operating_points:
        data = codec.pack(codec.compress(x, point), point)
        encoded, _ = codec.unpack(data)
        x_hat = codec.decompress(encoded, point)
        assert x_hat.shape == x.shape
        assert x_hat.dtype == torch.float32
        assert x_hat.min() >= 0
        assert x_hat.max() <= 1
        sizes.append(len(data))
    assert sizes[0] <= sizes[1]
    assert psnr(x, x_hat).item() > 20


def test_the_file_is_the_one_that_pillow_writes():
    x = picture()
    array = x[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="JPEG", quality=50)
    assert packed(Jpeg([50]), x) == buffer.getvalue()


@pytest.mark.parametrize("kind", CODECS)
def test_batches(kind):
    codec = kind([50])
    point = codec.operating_points[0]
    x = torch.cat([picture(), 1 - picture()])
    encoded = codec.compress(x, point)
    assert codec.decompress(encoded, point).shape == x.shape
    with pytest.raises(UserError, match="one image, not 2"):
        codec.pack(encoded, point)


def test_operating_points_rise():
    points = WebP([50, 5]).operating_points
    assert [(p.index, p.label, p.quality) for p in points] == [(0, "q5", 5.0), (1, "q50", 50.0)]
    assert [p.quality for p in Jpeg().operating_points] == list(range(5, 100, 5))


@pytest.mark.parametrize("qualities", [[], [5, 5], [101], [-1]])
def test_wrong_qualities(qualities):
    with pytest.raises(UserError, match="Jpeg"):
        Jpeg(qualities)


def test_subsampling():
    x = picture()
    assert Jpeg(subsampling="4:4:4").name == "jpeg_444"
    assert len(packed(Jpeg([90], "4:4:4"), x)) > len(packed(Jpeg([90]), x))
    with pytest.raises(UserError, match="subsampling"):
        Jpeg(subsampling="4:1:1")  # type: ignore[arg-type]


def test_a_jpeg_tells_its_quality_a_webp_does_not():
    codec = Jpeg()
    for index in (0, 9, 18):
        _, point = codec.unpack(packed(codec, picture(), index))
        assert point == codec.operating_points[index]
    _, point = codec.unpack(packed(Jpeg([33]), picture()))
    assert (point.label, point.index) == ("unknown", -1)
    assert WebP().unpack(packed(WebP(), picture()))[1].label == "unknown"


def test_a_point_without_quality():
    with pytest.raises(UserError, match="quality"):
        Jpeg().compress(picture(), OperatingPoint(0, "lambda", lmbda=1.0))


@pytest.mark.parametrize("kind", CODECS)
def test_pictures_too_large(kind, monkeypatch):
    codec = kind([50])
    point = codec.operating_points[0]
    with pytest.raises(DataError, match="too large"):
        codec.compress(torch.zeros(1, 3, 1, 70_000), point)
    data = packed(codec, picture())
    monkeypatch.setattr(pillow, "MAX_PIXELS", 100)
    with pytest.raises(BitstreamError, match="65x33 pixels"):
        codec.unpack(data)
    monkeypatch.setattr(pillow, "MAX_BYTES", 10)
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
    yield "animation", saved("WEBP", save_all=True, append_images=frames)
    yield "several", saved("MPO", save_all=True, append_images=frames)
    for kind in ("JPEG", "WEBP"):
        data = saved(kind)
        yield f"cut {kind}", data[: len(data) // 2]
        yield f"longer {kind}", data + b"more"
    yield "head", b"\xff\xd8\xff\xd9\xff\xd9"
    yield "riff", b"RIFF\x04\x00\x00\x00WEBP"


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("name", [name for name, _ in foreign_files()])
def test_foreign_files_are_refused(kind, name):
    data = dict(foreign_files())[name]
    with pytest.raises(BitstreamError):
        kind().unpack(data)


def test_a_header_that_claims_a_huge_picture():
    data = bytearray(packed(Jpeg([50]), picture()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    with pytest.raises(BitstreamError):
        Jpeg().unpack(bytes(data))


@pytest.mark.parametrize("kind", CODECS)
def test_damaged_files_end_in_an_error_or_a_picture(kind):
    """Flipped, cut and random bytes: BitstreamError or a picture of the header's size, and never slow."""
    codec = kind([50])
    data = packed(codec, picture())
    chance = random.Random(0)
    errors = 0
    for _ in range(300):
        bad = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        if chance.random() < 0.3:
            start = chance.randrange(len(bad))
            del bad[start : start + chance.randint(1, 50)]
        start_time = time.perf_counter()
        try:
            encoded, point = codec.unpack(bytes(bad))
            x_hat = codec.decompress(encoded, point)
            assert x_hat.shape == (1, 3, *encoded.shape)
        except BitstreamError:
            errors += 1
        assert time.perf_counter() - start_time < 5
    assert errors > 10


@pytest.mark.parametrize("kind", CODECS)
def test_a_file_cut_after_unpacking_is_refused_by_the_decoder(kind):
    codec = kind([50])
    data = packed(codec, picture(200, 200))
    with pytest.raises(BitstreamError):
        codec.decompress(Encoded(((data[:200],),), (200, 200)), codec.operating_points[0])


@pytest.fixture(scope="module")
def kodak(nic_data) -> list[tuple[str, torch.Tensor]]:
    files = sorted((Path(nic_data) / "kodak").glob("*.png"))
    if len(files) != 24:
        pytest.skip("needs the 24 Kodak images in NIC_DATA/kodak")
    arrays = [np.array(Image.open(file).convert("RGB")) for file in files]
    return [
        (file.name, torch.from_numpy(array).permute(2, 0, 1).float().div(255))
        for file, array in zip(files, arrays, strict=True)
    ]


def test_kodak_webp_equals_the_published_curve(kodak):
    """Two points of CompressAI's results/image/kodak/webp.json: the self-test of rate, PSNR and MS-SSIM."""
    rows = evaluate_codec(WebP([5, 50]), kodak, "kodak")
    for label, rate, quality, similarity in [("q5", 0.2344, 28.328, 0.9257), ("q50", 0.7218, 33.238, 0.9751)]:
        here = [row for row in rows if row["label"] == label]
        assert len(here) == 24
        assert mean(row["bpp"] for row in here) == pytest.approx(rate, abs=1e-3)
        assert mean(row["psnr"] for row in here) == pytest.approx(quality, abs=1e-3)
        assert mean(row["ms_ssim"] for row in here) == pytest.approx(similarity, abs=1e-3)


def test_kodak_jpeg_rate_equals_the_published_curve(kodak):
    codec = Jpeg([50])
    point = codec.operating_points[0]
    rates = []
    for _, image in kodak:
        data = codec.pack(codec.compress(image[None], point), point)
        rates.append(8 * len(data) / (image.shape[-1] * image.shape[-2]))
    assert mean(rates) == pytest.approx(0.906, abs=0.002)
