from __future__ import annotations

import pytest
import torch

from nic_lightning.codecs.conditional import ConditionalAutoencoder
from nic_lightning.errors import BitstreamError, UserError


def test_parameters_of_the_thesis():
    with torch.device("meta"):
        codec = ConditionalAutoencoder(192, lambdas=[64, 256, 512, 1024, 4096])
    count = sum(p.numel() for n, p in codec.named_parameters() if not n.startswith("entropy_"))
    assert count == 4_012_449 - 771  # the condition's bias takes the place of the five convolutions' that have one


def test_points_are_lambdas_and_candidates_every_bin_width():
    codec = ConditionalAutoencoder(4, lambdas=[64, 256], steps=[2.0, 0.5, 1.0])
    assert [(p.label, p.step) for p in codec.operating_points] == [("64", 1.0), ("256", 1.0)]
    assert [p.label for p in codec.candidate_points] == [
        "64", "256", "64/step0.5", "256/step0.5", "64/step2", "256/step2"
    ]  # fmt: skip
    for i, point in enumerate(codec.candidate_points):
        assert point.index == i
        assert codec.point_from_bytes(codec.point_to_bytes(point)) == point
        assert codec.point(point.label) == point
    for wrong in (b"", b"\x06", b"\xff", b"\0\0"):
        with pytest.raises(BitstreamError, match="operating point"):
            codec.point_from_bytes(wrong)


def test_a_wider_bin_costs_fewer_bits_and_more_distortion(make_codec, picture):
    codec = make_codec("conditional", steps=[0.25, 1.0, 4.0], lambdas=[64, 256])
    x = picture(64, 64)
    bits, errors = [], []
    for label in ("64/step0.25", "64", "64/step4"):
        point = codec.point(label)
        output = codec(x, point)
        bits.append(-output.likelihoods["y"].log2().sum().item())
        errors.append((output.y - output.y_hat).square().mean().item())
        assert (output.y - output.y_hat).abs().max() <= point.step / 2 + 1e-5
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)


def test_training_draws_a_bin_width(make_codec, picture):
    codec = make_codec("conditional", lambdas=[64, 256]).train()
    x, point = picture(64, 64), codec.operating_points[0]
    spread = []
    for _ in range(12):
        output = codec(x, point)
        spread.append((output.y_hat - output.y).abs().max().item())
    assert 0.25 <= min(spread) <= max(spread) <= 1.0
    assert max(spread) / min(spread) > 1.3
    codec.bin_range = 0.0
    assert (codec(x, point).y_hat - codec(x, point).y).abs().max().item() <= 0.5 + 1e-6


def test_conditions_select_their_rows(make_codec, picture):
    codec = make_codec("conditional", lambdas=[64, 256]).train()
    codec(picture(32, 32), codec.operating_points[1]).x_hat.sum().backward()
    for affine in [*codec.g_a_affines, *codec.g_s_affines]:
        assert not affine.scale.grad[0].any()
        assert affine.scale.grad[1].any()


@pytest.mark.parametrize(
    "arguments",
    [
        {"lambdas": [256, 64]},
        {"lambdas": [64, 64]},
        {"lambdas": []},
        {"lambdas": [0, 64]},
        {"steps": [0.5, 2.0]},
        {"steps": []},
        {"steps": [1.0, 1.0]},
        {"steps": [-1.0, 1.0]},
        {"steps": [0.0, 1.0]},
        {"lambdas": list(range(1, 256))},
    ],
)
def test_impossible_arguments(arguments):
    with pytest.raises(UserError, match=r"codec\."):
        ConditionalAutoencoder(4, **arguments)
