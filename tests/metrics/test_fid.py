from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from nic_lightning.metrics.fid import Fid, FidResult, PatchFid
from tests.metrics.ranks import on_two_ranks


class Projection(nn.Module):
    """Random features of an image: nothing that takes weights."""

    num_features = 6
    extractor_name = "projection"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(48, 6, generator=torch.Generator().manual_seed(1)).double())

    def forward(self, pixels):
        return nn.functional.adaptive_avg_pool2d(pixels.double() / 255, 4).flatten(1) @ self.weight


def images(side: int, count: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.rand(count, 3, 16, 20, generator=generator) * (0.6 + 0.4 * side)


def pixels(batch: torch.Tensor) -> torch.Tensor:
    return (batch * 255).round().byte()


def direct(first: np.ndarray, second: np.ndarray) -> float:
    """The distance as it is written in the paper, by NumPy and SciPy."""
    means, covariances = zip(*((f.mean(0), np.cov(f, rowvar=False)) for f in (first, second)), strict=True)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    return float(np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


def features(batch: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return Projection()(pixels(batch)).double().numpy()


@pytest.mark.parametrize("count", [40, 7, 4])
def test_the_distance_is_that_of_numpy_and_scipy(count: int):
    """With 4 images of 6 features the covariances have no full rank."""
    first, second = images(0, count), images(1, 40)
    fid = Fid(Projection())
    fid.update(first, real=True)
    fid.update(second[:3], real=False)
    fid.update(second[3:], real=False)
    found = fid.result()
    assert found.value == pytest.approx(direct(features(first), features(second)), rel=1e-6)
    assert found.value > 0.1
    assert (found.name, found.real, found.fake) == ("fid_projection", count, 40)
    if count > 6:
        assert found.note is None
    else:
        assert "4 images are too few for 6 features" in found.note


def test_properties():
    same = Fid(Projection())
    for real in (True, False):
        same.update(images(0, 20), real=real)
    assert 0 <= same.result().value < 1e-6
    assert f"{same.result().value:.2f}" == "0.00"  # rounding alone gives less than nothing
    order = Fid(Projection())
    order.update(images(0, 20).flip(0), real=True)
    order.update(images(1, 20), real=False)
    parts = Fid(Projection())
    for image in images(0, 20):
        parts.update(image[None], real=True)
    parts.update(images(1, 20), real=False)
    assert order.result().value == pytest.approx(parts.result().value, rel=1e-9)


def test_a_shift_of_all_features_adds_its_square():
    class Shifted(Projection):
        shift = 0.0

        def forward(self, pixels):
            return super().forward(pixels) + self.shift

    extractor = Shifted()
    fid = Fid(extractor)
    fid.update(images(0, 30), real=True)
    extractor.shift = 3.0
    fid.update(images(0, 30), real=False)
    assert fid.result().value == pytest.approx(6 * 9.0, rel=1e-5)


def test_images_are_rounded_to_8_bits():
    seen = []

    class Watched(Projection):
        def forward(self, pixels):
            seen.append(pixels)
            return super().forward(pixels)

    fid = Fid(Watched())
    fid.update(torch.full((1, 3, 8, 8), 99.6 / 255), real=True)
    fid.update(torch.full((1, 3, 8, 8), 1.2), real=False)
    assert [(p.dtype, int(p.max())) for p in seen] == [(torch.uint8, 100), (torch.uint8, 255)]


def test_fewer_than_two_images_have_no_distance():
    fid = Fid(Projection())
    fid.update(images(0, 1), real=True)
    found = fid.result()
    assert np.isnan(found.value)
    assert (found.real, found.fake) == (1, 0)
    assert "0 images are too few" in found.note


def test_patches():
    """Each grid takes all patches that fit; the second begins at 128, 128."""
    place = torch.arange(512 * 1000).reshape(512, 1000)
    coded = torch.stack([place // 65536, place // 256 % 256, place % 256]).byte()[None]
    patches = PatchFid(Projection()).samples(coded)
    corners = [tuple(int(value) for value in patch[:, 0, 0]) for patch in patches]
    origins = [(r * 65536 + g * 256 + b) for r, g, b in corners]
    first = [256 * i * 1000 + 256 * j for i in range(2) for j in range(3)]
    second = [128 * 1000 + 128 + 256 * j for j in range(3)]
    assert origins == first + second
    assert all(
        torch.equal(p, coded[0, :, o // 1000 : o // 1000 + 256, o % 1000 : o % 1000 + 256])
        for p, o in zip(patches, origins, strict=True)
    )
    assert PatchFid(Projection()).samples(coded[:, :, :255]).shape == (0, 3, 256, 256)
    fid = PatchFid(Projection())
    fid.update(torch.rand(2, 3, 512, 512, generator=torch.Generator().manual_seed(0)), real=True)
    fid.update(torch.rand(1, 3, 200, 700), real=False)  # too small for any
    found = fid.result()
    assert (found.name, found.real, found.fake) == ("fid256_projection", 10, 0)


@pytest.mark.slow
def test_ranks_add_up(tmp_path):
    """Originals 9 and 3, reconstructions 12 and none; both tell the same, and what one process tells."""
    alone = Fid(Projection())
    for side in (0, 1):
        alone.update(images(side), real=side == 0)
    expected = alone.result()

    def measure(rank: int) -> FidResult:
        fid = Fid(Projection())
        fid.update(images(0)[slice(9) if rank == 0 else slice(9, 12)], real=True)
        if rank == 0:
            fid.update(images(1), real=False)
        return fid.result()

    found = on_two_ranks(measure, tmp_path)
    assert found[0] == found[1]
    assert (found[0].real, found[0].fake) == (expected.real, expected.fake) == (12, 12)
    assert found[0].value == pytest.approx(expected.value, rel=1e-9)
