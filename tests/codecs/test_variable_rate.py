from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.errors import BitstreamError, UserError

LAMBDAS = [64, 128, 256, 512, 1024, 2048, 4096]


@pytest.fixture(scope="module")
def codec(make_codec):
    return make_codec("modulated", lambdas=LAMBDAS)


def test_trained_lambdas_are_their_own_points(codec):
    assert [p.label for p in codec.operating_points] == [str(v) for v in LAMBDAS]
    for point in codec.operating_points:
        assert codec.point_at(point.lmbda) == point
        assert len(codec.point_to_bytes(point)) == 1


def test_points_rise_with_lambda_and_lie_on_the_grid(codec):
    asked = np.exp(np.linspace(math.log(64), math.log(4096), 2001)).clip(64, 4096)
    found = [codec.point_at(float(v)) for v in asked]
    places = [codec._place(p) for p in found]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 6 * 4096)
    for lmbda, point in zip(asked, found, strict=True):
        assert abs(math.log(point.lmbda / lmbda)) <= math.log(2) / 4096 / 2 * (1 + 1e-6)
        assert codec.point_at(point.lmbda) == point  # snapping twice is snapping once
        i, t = codec.neighbours(point)
        assert point.lmbda == pytest.approx(64 * 2 ** (i + t), rel=1e-12)


@pytest.mark.parametrize("lambdas", [LAMBDAS, [1.0, 1.001, 4000.0], [0.01, 5.0], [3e5, 3.1e5, 9e9]])
def test_bytes_name_any_lambda(lambdas):
    codec = ModulatedAutoencoder(2, lambdas=lambdas)
    rng = random.Random(0)
    for _ in range(500):
        lmbda = math.exp(rng.uniform(math.log(codec.lambdas[0]), math.log(codec.lambdas[-1])))
        point = codec.point_at(min(max(lmbda, codec.lambdas[0]), codec.lambdas[-1]))
        data = codec.point_to_bytes(point)
        assert codec.point_from_bytes(data) == point
        assert len(data) == (1 if point.index >= 0 else 3)


def test_every_place_of_the_grid_is_its_own_inverse(codec):
    for place in range(0, 6 * 4096 + 1, 7):
        assert codec._place(codec._point_on_grid(place)) == place


@pytest.mark.parametrize(
    "data",
    [b"", b"\x07", b"\xff", b"\0\0", b"\xff\0", b"\xff\0\0", b"\xff\0\x10", b"\xff\xff\xff", b"\xff\x01\x60", b"\0\0\0",
     b"\xfe\1\0", b"\xff\1\0\0", b"\xff" * 100],
)  # fmt: skip
def test_bytes_that_name_nothing(codec, data):
    with pytest.raises(BitstreamError, match="operating point"):
        codec.point_from_bytes(data)


def test_labels(codec):
    assert codec.point("512") is codec.operating_points[3]
    assert codec.point("100").index == -1
    assert codec.point("100").lmbda == pytest.approx(100, rel=1e-4)
    assert codec.point("1e2") == codec.point_at(100)
    for point in (codec.point_at(v) for v in (65.0, 100.0, 777.7, 4095.0)):
        assert codec.point(point.label) == point
    for wrong in ("", "high", "63", "4097", "nan", "inf", "-64", "0"):
        with pytest.raises(UserError):
            codec.point(wrong)


@pytest.mark.parametrize("lmbda", [63.9, 4096.1, 0.0, -1.0, math.nan, math.inf])
def test_lambdas_out_of_range(codec, lmbda):
    with pytest.raises(UserError, match="64 to 4096"):
        codec.point_at(lmbda)


def test_one_lambda_is_not_a_range():
    codec = ModulatedAutoencoder(2, lambdas=[512])
    assert codec.lambda_range is None
    assert codec.point_to_bytes(codec.point("512")) == b""
    assert codec.point_at(512.0).index == 0
    for data in (b"\0", b"\xff\0\0", b"\xff\1\0"):
        with pytest.raises(BitstreamError):
            codec.point_from_bytes(data)


@pytest.mark.parametrize("lambdas", [[], [64, 64], [128, 64], [0, 64], [-1], list(range(1, 17)), [math.nan]])
def test_impossible_ladders(lambdas):
    with pytest.raises(UserError, match=r"codec\.lambdas"):
        ModulatedAutoencoder(2, lambdas=lambdas)


def test_ladder_with_fifteen_rungs_has_room_on_the_wire():
    codec = ModulatedAutoencoder(2, lambdas=list(range(1, 16)))
    point = codec.point_at(14.9999)
    assert codec.point_from_bytes(codec.point_to_bytes(point)) == point


def test_entropy_models_in_between_follow_the_tables(make_codec, picture):
    codec = make_codec("modulated", lambdas=[64, 512])
    x, point = picture(32, 32), codec.point_at(200.0)
    first = codec.compress(x, point)
    assert codec.bottleneck(codec.entropy_y, point) is codec.bottleneck(codec.entropy_y, point)
    with torch.no_grad():
        for model in codec.entropy_y:
            model.biases[0].add_(1.0)
    codec.update_tables()
    second = codec.compress(x, point)
    assert not torch.equal(first.latents["y"], second.latents["y"])  # other medians
    assert torch.equal(codec.decode_latents(second, point)["y"], second.latents["y"])


def test_training_between_two_lambdas_is_refused(make_codec, picture):
    codec = make_codec("modulated").train()
    with pytest.raises(UserError, match="train at a trained lambda"):
        codec(picture(16, 16), codec.point_at(100.0))


def test_bottleneck_scaling_rounds_finer_as_lambda_rises(make_codec, picture):
    codec = make_codec("bottleneck_scaling", lambdas=[64, 256, 1024])
    x = picture(96, 96)
    errors = []
    for lmbda in (64, 90, 128, 200, 256, 400, 700, 1024):
        point = codec.point_at(lmbda)
        output = codec(x, point)
        errors.append(((output.y_hat - output.y) / codec.scale(point)).square().mean().item())
    assert errors == sorted(errors, reverse=True)
