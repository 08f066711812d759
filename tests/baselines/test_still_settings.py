"""What the encoders of still-image formats are told, where a library's default would do something else."""

from __future__ import annotations

import io
import math

import pytest
import torch
from PIL import Image

from nic_lightning.baselines.heif import HevcIntra
from nic_lightning.baselines.jpegxl import JpegXl
from nic_lightning.baselines.pillow import Avif, Jpeg, Jpeg2000
from nic_lightning.metrics.fidelity import psnr
from tests.baselines.samples import packed, picture, textured


# Which qualities of WebP share their quantisers depends on the picture.
@pytest.mark.parametrize("kind", [Jpeg, Avif, HevcIntra])
def test_settings_that_count_as_different_give_different_files(kind):
    """AVIF has 64 of them and HEVC 48: findings/avif_heif_qualities.sh."""
    x = textured(160, 160)
    codec, files = kind([50]), {}
    for quality in range(0, 101):
        files.setdefault(codec._step(quality), set()).add(packed(kind([quality]), x))
    assert all(len(same) == 1 for same in files.values())
    assert len({next(iter(same)) for same in files.values()}) == len(files)


def test_fractions_that_an_encoder_takes_give_files_of_their_own():
    codec = JpegXl([40, 40.2])
    assert [p.label for p in codec.operating_points] == ["q40", "q40.2"]
    assert packed(codec, textured(64, 64), 0) != packed(codec, textured(64, 64), 1)


def test_jpeg_xl_is_lossless_at_its_upper_end():
    """libjxl refuses distance 0 in XYB: findings/jpegxl_quality_100.sh."""
    x = textured(33, 50)
    codec = JpegXl([99.9, 100])
    lossy, lossless = (packed(codec, x, i) for i in (0, 1))
    assert torch.equal(codec.decompress(codec.unpack(lossless)[0], codec.operating_points[1]), x)
    assert not torch.equal(codec.decompress(codec.unpack(lossy)[0], codec.operating_points[0]), x)


def test_avif_is_one_tile_whatever_the_number_of_cores():
    """By default libavif makes tiles for threads that are not there: findings/avif_threads.sh."""
    x = textured(512, 768)
    pixels = x[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    options = {"quality": 30, "codec": "aom", "speed": 9, "max_threads": 1, "advanced": {"tune": "psnr"}}
    sizes = []
    for tiles in (False, True):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="AVIF", autotiling=tiles, **options)
        sizes.append(len(buffer.getvalue()))
    ours = len(packed(Avif([30], speed=9), x))
    assert ours == sizes[0] < sizes[1]


def test_hevc_for_psnr_has_no_psychovisual_decisions():
    """libheif's tune=psnr leaves them on: findings/heif_tune_psnr.sh."""
    x = textured(256, 256)
    pixels = x[0].mul(255).round().byte().permute(1, 2, 0).numpy()
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    effort = {"preset": "slow", "tune": "psnr", "x265:pools": "none"}
    heif.encode("RGB", (256, 256), pixels.tobytes(), buffer, quality=40, chroma=420, enc_params=effort)
    codec = HevcIntra([40])
    point = codec.operating_points[0]
    ours, theirs = (
        psnr(x, codec.decompress(codec.unpack(data)[0], point)).item()
        - 6 * math.log2(len(data))  # 6 dB a bit: generous
        for data in (packed(codec, x), buffer.getvalue())
    )
    assert ours > theirs


def test_jpeg2000_decorrelates_colours_and_is_irreversible():
    """The fields of the COD marker: one layer, colour transform 1, wavelet 0, which is the 9-7 one."""
    data = packed(Jpeg2000([1]), picture())
    coding = data[data.index(b"\xff\x52") + 4 :]
    assert (coding[2:4], coding[4], coding[9]) == (b"\0\1", 1, 0)
