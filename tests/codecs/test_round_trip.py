"""Real bits of every learned codec: what is decoded is what the forward pass saw."""

from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from tests.codecs.samples import spiked

CODECS = {
    "cae": {},
    "modulated": {"lambdas": [64, 256, 1024]},
    "bottleneck_scaling": {"lambdas": [64, 256, 1024]},
    "conditional": {"lambdas": [64, 1024], "steps": [0.5, 1.0, 2.0]},
    "hyperprior": {},
    "modulated_hyperprior": {"lambdas": [64, 256, 1024]},
    "scalable": {"widths": [4, 6, 12]},
    "slimmable": {"widths": [4, 6, 12]},
}
SIZES = [(1, 1), (1, 33), (16, 16), (17, 16), (33, 1), (65, 97)]


def points_of(codec: LearnedCodec) -> list[OperatingPoint]:
    """Every candidate, and where lambda is continuous some in between."""
    between = [codec.point_at(v) for v in (64.03, 100.0, 255.9, 777.0)] if codec.lambda_range else []
    return [*codec.candidate_points, *between]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("outliers", [False, True])
def test_decoded_latents_are_those_of_the_forward_pass(make_codec, picture, name, outliers):
    codec = make_codec(name, **CODECS[name])
    if outliers:
        codec.analysis = spiked(codec.analysis)
    varied = 0
    for size in SIZES:
        x = picture(*size, n=2, seed=size[0])
        for point in points_of(codec):
            encoded = codec.compress(x, point)
            decoded = codec.decode_latents(encoded, point)
            with torch.no_grad():
                outputs = [codec(image, point) for image in x.split(1)]
            assert torch.equal(decoded["y"], torch.cat([o.y_hat for o in outputs])), (size, point.label)
            assert decoded.keys() == encoded.latents.keys() == outputs[0].likelihoods.keys()
            assert all(torch.equal(v, encoded.latents[k]) for k, v in decoded.items())
            assert encoded.shape == size
            if outliers:
                assert decoded["y"].abs().max() > 300
            varied += len(decoded["y"].round().unique()) > 3
    assert varied > len(SIZES) * len(points_of(codec)) / 3  # the test would mean little with constant symbols


@pytest.mark.parametrize("name", CODECS)
def test_a_file_brings_back_the_image_of_the_forward_pass(make_codec, picture, name):
    codec = make_codec(name, **CODECS[name])
    for size in SIZES:
        x = picture(*size)
        for point in points_of(codec):
            encoded = codec.compress(x, point)
            received, named = codec.unpack(codec.pack(encoded, point))
            assert named == point
            assert received == encoded
            with torch.no_grad():
                assert torch.equal(codec.decompress(received, named), codec(x, point).x_hat.clamp(0, 1))


def test_a_photograph_sized_image_of_odd_sides(make_codec, picture):
    codec = make_codec("modulated", lambdas=[64, 1024], width=16)
    x, point = picture(512, 769), codec.point_at(333.0)
    received, named = codec.unpack(codec.pack(codec.compress(x, point), point))
    with torch.no_grad():
        output = codec(x, point)
    assert torch.equal(codec.decode_latents(received, named)["y"], output.y_hat)
    assert torch.equal(codec.decompress(received, named), output.x_hat.clamp(0, 1))


@pytest.mark.parametrize("name", CODECS)
def test_real_bits_are_within_one_percent_of_the_estimate(make_codec, picture, name):
    wide = {"widths": [12, 16, 24]} if "widths" in CODECS[name] else {"width": 24}
    codec = make_codec(name, **CODECS[name] | wide)
    x = picture(512, 512)
    if "hyperprior" in name:
        with torch.no_grad():  # latents that fit their densities, as training would find
            codec.h_a[-1].weight.mul_(0.02)
            spread = codec.analysis(x, codec.operating_points[-1]).square().mean((0, 2, 3)).sqrt()
            codec.h_s.layers[-1].weight.zero_()
            codec.h_s.layers[-1].bias.copy_(spread)
    for point in points_of(codec)[:: 2 if len(points_of(codec)) > 4 else 1]:
        with torch.no_grad():
            estimate = -sum(float(p.double().log2().sum()) for p in codec(x, point).likelihoods.values())
        bits = 8 * sum(len(s) for strings in codec.compress(x, point).strings for s in strings)
        assert estimate / x[0, 0].numel() >= 0.1
        assert abs(bits / estimate - 1) < 0.01, (point.label, bits / estimate)
