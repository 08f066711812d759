"""Where strips are cut, and how far a transform is found to look; that they decode alike is a check of every codec."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nic_lightning.codecs import files, strips
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.strips import (
    BUDGET,
    Cut,
    Reach,
    analysis_of,
    cuts,
    goes_in_strips,
    reach_of,
    strips_of,
    synthesis_of,
)
from nic_lightning.errors import UserError
from nic_lightning.testing import excited, smooth_images


def test_the_reach_of_a_convolution_is_that_of_its_kernel():
    layers = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    found = reach_of(layers, layers, 3, 1)
    assert found is not None
    assert (found.before, found.behind) == (3, 3)
    assert found.bytes_per_block == 4 * 4  # four channels of float32 for each sample


def test_the_reach_of_strided_layers_is_in_blocks():
    """4 of stride 2 with kernels of 5: a latent looks 2 + 4 + 8 + 16 samples up and down: two blocks of 16."""
    layers = nn.Sequential(*(nn.Conv2d(3, 3, 5, 2, 2) for _ in range(4)))
    found = reach_of(layers, layers, 3, 16)
    assert found is not None
    assert (found.before, found.behind) == (2, 1)


def test_computed_kernels_are_no_feature_maps():
    found = []
    for kernels in ("direct", "rdft"):
        codec = CompressiveAutoencoder(width=24, kernel_param=kernels).eval()
        with torch.no_grad():
            found.append(strips._reach(codec, "analysis", codec.operating_points[0], 3, codec.stride))
    assert found[0] == found[1]
    assert found[0].bytes_per_block == 4 * 24 * 4 * 4  # of the first layer's map, at a fourth of the resolution


def test_what_looks_at_the_whole_image_is_not_cut():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4))
    assert reach_of(layers, layers, 3, 1) is None


def test_weights_of_zero_count():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    nn.init.zeros_(layer.weight)
    found = reach_of(layer, layer, 3, 1)
    assert found is not None
    assert (found.before, found.behind) == (1, 1)


@pytest.mark.parametrize("blocks", [1, 7, 8, 100])
@pytest.mark.parametrize("budget", [1, 3 * 10 * 4 * 8, BUDGET])
def test_cuts_cover_every_block_once_and_keep_the_budget(blocks, budget):
    reach = Reach(before=2, behind=1, bytes_per_block=10)
    made = list(cuts(blocks, 4, reach, budget))
    assert [b for cut in made for b in range(cut.first, cut.last)] == list(range(blocks))
    for cut in made:
        assert (cut.start, cut.end) == (max(0, cut.first - 2), min(blocks, cut.last + 1))
        assert 3 * 10 * 4 * (cut.end - cut.start) <= budget or cut.last - cut.first == 1
    if budget == BUDGET:
        assert made == [Cut(0, blocks, 0, blocks)]


def test_a_codec_that_sees_the_whole_image_keeps_a_smaller_limit(monkeypatch):
    class Global(CompressiveAutoencoder):
        def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
            return super().analysis(x - x.mean(), point)

    monkeypatch.setattr(files, "MAX_WHOLE_PIXELS", 1000)
    small = CompressiveAutoencoder(4)
    small.require_size(40, 40)
    assert goes_in_strips(small)
    whole = Global(4)
    whole.require_size(20, 50)
    assert not goes_in_strips(whole)
    with pytest.raises(UserError, match="depends on the whole image: cut it into tiles of at most 1,000 pixels"):
        whole.require_size(40, 40)
    with pytest.raises(UserError, match="tiles"), torch.no_grad():
        whole.compress(torch.zeros(1, 3, 40, 40), whole.operating_points[0])


def test_pixels_in_8_bits_come_and_go_as_floats_do():
    codec = excited(CompressiveAutoencoder(8))
    point, x = codec.operating_points[0], (255 * smooth_images(70, 200)).round().byte()
    with strips_of(budget=1), torch.no_grad():
        y = analysis_of(codec, x, point)
        assert torch.equal(y, analysis_of(codec, x.float() / 255, point))
        floats = synthesis_of(codec, y, point, (70, 200))
        assert torch.equal(synthesis_of(codec, y, point, (70, 200), torch.uint8), floats.mul(255).round().byte())
    assert floats.shape == (1, 3, 70, 200)
