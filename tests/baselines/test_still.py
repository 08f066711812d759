"""What every still-image format promises: its own files bring the picture back, and what cannot work is a sentence."""

from __future__ import annotations

import sys

import pytest
import torch

from nic_lightning.baselines.heif import HevcIntra
from nic_lightning.baselines.jpegxl import JpegXl
from nic_lightning.baselines.pillow import Avif, Jpeg, Jpeg2000, WebP
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.search import search_point
from nic_lightning.errors import DataError, UserError
from nic_lightning.metrics.fidelity import psnr
from tests.baselines.samples import CODECS, packed, picture


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


@pytest.mark.parametrize(("kind", "module"), [(HevcIntra, "pillow_heif"), (JpegXl, "pillow_jxl")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(kind, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"which is not installed: pip install 'nic_lightning\[baselines\]'\."):
        kind()


def test_a_point_without_quality(codec):
    with pytest.raises(UserError, match="quality"):
        codec.compress(picture(), OperatingPoint(0, "lambda", lmbda=1.0))


@pytest.mark.parametrize("kind", [Jpeg, WebP, HevcIntra, Avif])
def test_sides_that_a_format_cannot_hold(kind):
    codec = kind([50])
    with pytest.raises(DataError, match="too large"):
        codec.compress(torch.zeros(1, 3, 1, 70_000), codec.operating_points[0])


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
