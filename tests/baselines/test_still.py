"""What every still-image format promises: its own files bring the picture back, all others end in a sentence."""

from __future__ import annotations

import io
import math
import random
import sys
from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from nic_lightning.baselines import still
from nic_lightning.baselines.heif import HevcIntra
from nic_lightning.baselines.jpegxl import JpegXl
from nic_lightning.baselines.pillow import Avif, Jpeg, Jpeg2000, WebP
from nic_lightning.baselines.still import StillImageCodec
from nic_lightning.codecs.base import Encoded, ImageCodec, OperatingPoint
from nic_lightning.codecs.search import search_point
from nic_lightning.errors import BitstreamError, DataError, UserError
from nic_lightning.metrics.fidelity import psnr
from tests.baselines.samples import packed, picture, textured

CODECS = {
    "jpeg": lambda: Jpeg([10, 95]),
    "jpeg_444": lambda: Jpeg([10, 95], "4:4:4"),
    "webp": lambda: WebP([10, 95]),
    "webp_best": lambda: WebP([10, 95], method=6),
    "jpeg2000": lambda: Jpeg2000([0.2, 16]),
    "avif": lambda: Avif([10, 90], speed=9),
    "avif_444": lambda: Avif([10, 90], "4:4:4", speed=9),
    "hevc": lambda: HevcIntra([10, 80]),
    "hevc_444": lambda: HevcIntra([10, 80], "4:4:4"),
    "jpegxl": lambda: JpegXl([10, 95]),
}


@pytest.fixture(params=CODECS)
def codec(request) -> StillImageCodec:
    return CODECS[request.param]()


@pytest.mark.parametrize("size", [(1, 1), (17, 3), (33, 65)])
def test_round_trip(codec, size):
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


def test_batches(codec):
    point = codec.operating_points[0]
    x = torch.cat([picture(), 1 - picture()])
    encoded = codec.compress(x, point)
    assert codec.decompress(encoded, point).shape == x.shape
    with pytest.raises(UserError, match="one image, not 2"):
        codec.pack(encoded, point)


def test_names_tell_settings_apart():
    made = {name: make().name for name, make in CODECS.items()}
    assert made == {name: name for name in CODECS}
    assert [p.label for p in Jpeg2000([3, 0.25]).operating_points] == ["r0.25", "r3"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Avif([]), "distinct qualities"),
        (lambda: WebP([5, 5]), "distinct qualities"),
        (lambda: Avif([101]), r"0\.\.100"),
        (lambda: Avif([50], speed=11), "speed"),
        (lambda: Avif([50], tune="vmaf"), "tune"),
        (lambda: Jpeg2000([0]), r"rates lie in 0\.01\.\.24"),
        (lambda: HevcIntra([50], preset="quick"), "preset"),
        (lambda: HevcIntra([50], tune="vmaf"), "tune"),
        (lambda: HevcIntra([50], "4:2:2"), "subsampling"),
        (lambda: JpegXl([50], effort=12), "effort"),
        (lambda: WebP([50], method=7), "method"),
        (lambda: WebP([10.4]), "whole numbers, not 10.4"),
        (lambda: Avif([10, 20.5]), "whole numbers, not 20.5"),
        (lambda: HevcIntra([33.3]), "whole numbers, not 33.3"),
        (lambda: Jpeg([0, 1]), "one file for q0 and q1"),
        (lambda: Avif([49, 50]), "one file for q49 and q50"),
        (lambda: HevcIntra([49, 50]), "one file for q49 and q50"),
        (lambda: HevcIntra([93, 100]), "one file for q93 and q100"),
        (lambda: Jpeg([float("nan")]), r"0\.\.100"),
    ],
)
def test_wrong_settings(make, words):
    with pytest.raises(UserError, match=words):
        make()


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


@pytest.mark.parametrize(("kind", "module"), [(HevcIntra, "pillow_heif"), (JpegXl, "pillow_jxl")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(kind, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"which is not installed: pip install 'nic_lightning\[baselines\]'\."):
        kind()


def test_a_point_without_quality(codec):
    with pytest.raises(UserError, match="quality"):
        codec.compress(picture(), OperatingPoint(0, "lambda", lmbda=1.0))


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


@pytest.mark.parametrize("kind", [Jpeg, WebP, HevcIntra, Avif])
def test_sides_that_a_format_cannot_hold(kind):
    codec = kind([50])
    with pytest.raises(DataError, match="too large"):
        codec.compress(torch.zeros(1, 3, 1, 70_000), codec.operating_points[0])


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


def test_jpeg2000_decorrelates_colours_and_is_irreversible():
    """The fields of the COD marker: one layer, colour transform 1, wavelet 0, which is the 9-7 one."""
    data = packed(Jpeg2000([1]), picture())
    coding = data[data.index(b"\xff\x52") + 4 :]
    assert (coding[2:4], coding[4], coding[9]) == (b"\0\1", 1, 0)


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


def test_sizes_in_a_jpegxl_header():
    """All four ways to write a side, and the ratios of sides."""
    codec = JpegXl([5], effort=1)
    for size in [(8, 8), (256, 128), (13, 700), (600, 9000), (300, 400), (100, 200)]:
        encoded, _ = codec.unpack(packed(codec, torch.zeros(1, 3, *size)))
        assert encoded.shape == size


def test_a_target_rate_is_met_or_the_range_named():
    codec, x = Jpeg2000([0.5, 1, 2]), picture(256, 256)
    x = (x + 0.1 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    found = search_point(codec, x, bpp=1.0)
    assert (found.point.label, found.message) == ("r1", None)
    assert found.bpp == pytest.approx(1.0, rel=0.02)
    with pytest.raises(UserError, match=r"reach 0\.46.* not 5 bpp"):
        search_point(codec, x, bpp=5.0)
