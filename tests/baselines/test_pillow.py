from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nic_lightning.baselines.pillow import Jpeg, WebP
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.runs.record.results import mean
from tests.baselines.samples import packed, picture


def test_the_file_is_the_one_that_pillow_writes():
    x = picture()
    array = x[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="JPEG", quality=50)
    assert packed(Jpeg([50]), x) == buffer.getvalue()


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


def test_a_header_that_claims_a_huge_picture():
    data = bytearray(packed(Jpeg([50]), picture()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    with pytest.raises(BitstreamError):
        Jpeg().unpack(bytes(data))


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


def test_huffman_tables_of_the_picture_make_files_smaller():
    """And change no pixel."""
    x = picture()
    plain, optimised = Jpeg([10]), Jpeg([10], optimize=True)
    files = [packed(codec, x) for codec in (plain, optimised)]
    assert len(files[1]) < 0.9 * len(files[0])
    images = [codec.decompress(*codec.unpack(data)) for codec, data in zip((plain, optimised), files, strict=True)]
    assert torch.equal(*images)
    assert optimised.name == "jpeg_optimized"
    assert Jpeg([10], "4:4:4", optimize=True).name == "jpeg_444_optimized"
