"""The suite finds what is wrong: every check can fail, and says what was expected and what came."""

from __future__ import annotations

import dataclasses
import sys
import unittest

import pytest
import torch
from torch import nn

from nic_lightning.baselines.pillow import Jpeg
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import UserError
from nic_lightning.testing import CheckFailure, check_codec, check_names, codec_checks, excited

CONFIG = {"_target_": "nic_lightning.codecs.cae.CompressiveAutoencoder", "width": 6, "lmbda": 64.0}


def made(kind=CompressiveAutoencoder, **arguments):
    torch.manual_seed(0)
    return excited(kind(**{"width": 6, "lmbda": 64.0} | arguments))


def test_a_codec_that_keeps_all_promises_passes_and_stays_as_it_is() -> None:
    codec = made().train()
    before, state = codec.fingerprint(), torch.random.get_rng_state()
    results = check_codec(codec, CONFIG)
    assert set(results.values()) == {"passed"}
    assert set(check_names()) - set(results) == {"a_narrowed_export_reads_the_files_of_the_whole"}
    assert codec.training
    assert codec.fingerprint() == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_without_a_config_or_tables_and_of_a_classic_codec() -> None:
    names = set(check_codec(CompressiveAutoencoder(width=6, lmbda=64.0)))
    assert names == {check.name for check in codec_checks(made(), CONFIG)} - {
        "a_state_dict_makes_the_same_codec",
        "builds_and_runs_on_the_meta_device",
    }
    config = {"_target_": "nic_lightning.baselines.pillow.Jpeg", "qualities": [10, 50]}
    assert set(check_codec(Jpeg([10, 50]), config)) - set(check_codec(Jpeg([10, 50]))) == {
        "both_ends_of_the_range_bring_back_images"
    }


class Twins(CompressiveAutoencoder):
    @property
    def operating_points(self):
        point = super().operating_points[0]
        return [point, dataclasses.replace(point, index=1)]


class Chance(CompressiveAutoencoder):
    calls = 0

    def compress(self, x, point):
        self.calls += 1
        return super().compress(x.roll(self.calls, -1), point)


class Uncropped(CompressiveAutoencoder):
    def images(self, latents, point, shape, *dtype):
        return super().images(latents, point, (shape[0] + 1, shape[1]), *dtype)


class Unclipped(CompressiveAutoencoder):
    def images(self, latents, point, shape, *dtype):
        return super().images(latents, point, shape, *dtype) + 0.5


class Open(CompressiveAutoencoder):
    lambda_range = (64.0, 512.0)

    def point_at(self, lmbda):
        return self.operating_points[0]


class Trusting(CompressiveAutoencoder):
    def unpack(self, data, max_pixels=2**20):
        return super().unpack(data) if data[:4] == b"NIC1" and len(data) > 30 else data[99]


class Certain(CompressiveAutoencoder):
    def likelihoods(self, y, point):
        y_hat, likelihoods = super().likelihoods(y, point)
        return y_hat, {"y": likelihoods["y"] + 1}


class Drifting(CompressiveAutoencoder):
    def decode_image_latents(self, strings, size, point):
        return {key: value + 1 for key, value in super().decode_image_latents(strings, size, point).items()}


class Mute(CompressiveAutoencoder):
    def point_from_bytes(self, data):
        return dataclasses.replace(super().point_from_bytes(data), label="other")


class Constant(CompressiveAutoencoder):
    def fingerprint(self):
        return bytes(8)


class Idle(CompressiveAutoencoder):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.spare = nn.Linear(2, 2)


class Bulky(CompressiveAutoencoder):
    def analysis(self, x, point):
        return super().analysis(x + float(x.mean()) * 0, point)


class Misnamed(CompressiveAutoencoder):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.prior = EntropyBottleneck(2)


class Wide(SlimmableAutoencoder):
    def fingerprint(self):
        return bytes([len(self.widths)] * 8)

    def file_fingerprint(self, point):
        return self.fingerprint()

    def require_own(self, content):
        self.require_fingerprint(content, self.fingerprint())


class Renamed(CompressiveAutoencoder):
    calls = 0

    @property
    def name(self):
        self.calls += 1
        return f"cae{self.calls}"

    def fingerprint(self):
        return bytes(8)


FAULTS = [
    (Twins, "is_an_image_codec_with_distinct_points", "operating points with labels of their own, got ['64', '64']"),
    (Chance, "files_bring_back_images_of_17x33", "expected the same file of the same image at point 64, got another"),
    (Uncropped, "files_bring_back_images_of_1x1", "a decoded image of shape (1, 3, 1, 1), got (1, 3, 2, 1)"),
    (Unclipped, "files_bring_back_images_of_64x48", "a decoded image in [0, 1], got 0."),
    (Open, "both_ends_of_the_range_bring_back_images", "expected UserError from point_at(63.36), got no error"),
    (Trusting, "hostile_bytes_end_in_a_sentence", "expected BitstreamError from no bytes, got IndexError"),
    (Certain, "forward_pass", "point 64 in training: likelihoods of y in (0, 1], got 1"),
    (Drifting, "decoding_gives_what_the_forward_pass_gave", "equal to the bit, got"),
    (Mute, "points_have_bytes_and_labels", "from the bytes b'' the point OperatingPoint(index=0, label='64'"),
    (Constant, "a_state_dict_makes_the_same_codec", "another fingerprint of other weights, got 0000000000000000"),
    (Idle, "everything_comes_trained", "parameters without a gradient: [], got ['spare.weight', 'spare.bias']"),
    (Bulky, "builds_and_runs_on_the_meta_device", "expected no error, got"),
    (Misnamed, "entropy_models_are_named_so", "below a submodule entropy_...: [], got ['prior']"),
    (Renamed, "an_image_too_small_for_a_metric_is_in_no_mean_of_it", "of one codec as many curves as 1, got 2"),
    (Chance, "a_killed_evaluation_goes_on_after_its_last_image", "after the interruption the rows"),
    (Chance, "an_image_that_the_codec_refuses_is_a_gap", "beside a refused image the row"),
]


@pytest.mark.parametrize(("kind", "name", "sentence"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_every_check_can_fail(kind: type, name: str, sentence: str) -> None:
    config = {**CONFIG, "_target_": f"{__name__}.{kind.__name__}"}
    sys.modules.setdefault(__name__, sys.modules[kind.__module__])
    (check,) = [check for check in codec_checks(made(kind), config) if check.name == name]
    with pytest.raises(CheckFailure) as failure:
        check()
    assert f", {name}: expected " in str(failure.value)
    assert sentence in str(failure.value)


def test_a_narrowed_codec_that_cannot_read_its_files() -> None:
    arguments = {"widths": [2, 4], "lambdas": 64.0}
    torch.manual_seed(0)
    codec = excited(Wide(**arguments))
    config = {"_target_": f"{__name__}.Wide", **arguments}
    (check,) = [check for check in codec_checks(codec, config) if "narrowed" in check.name]
    with pytest.raises(CheckFailure, match="expected no error, got BitstreamError: The file was made by another model"):
        check()


def test_all_failures_are_named_at_once() -> None:
    with pytest.raises(CheckFailure) as failure:
        check_codec(made(Misnamed), expected_failures={"forward_pass": "the reason"})
    lines = str(failure.value).splitlines()
    assert ", forward_pass: expected a failure (the reason), got none: take it out of" in lines[0]
    assert ", everything_comes_trained: expected parameters without a gradient: [], got ['prior." in lines[1]
    assert ", entropy_models_are_named_so: expected" in lines[2]
    assert len(lines) == 3


def test_expected_failures_have_reasons() -> None:
    reasons = dict.fromkeys(("entropy_models_are_named_so", "everything_comes_trained"), "its prior waits")
    results = check_codec(made(Misnamed), expected_failures=reasons)
    assert {results.pop(name) for name in reasons} == {"expected to fail: its prior waits"}
    assert set(results.values()) == {"passed"}
    checks = [c for c in codec_checks(made(Misnamed), expected_failures=reasons) if c.expected_failure]
    assert len(checks) == 2
    for check in checks:
        with pytest.raises(unittest.SkipTest, match="expected to fail: its prior waits"):
            check()
    with pytest.raises(UserError, match="No check of this codec is named 'all'"):
        check_codec(made(), expected_failures={"all": "?"})
    with pytest.raises(UserError, match="names its class"):
        check_codec(made(), {"width": 6})


@pytest.mark.parametrize("check", codec_checks(Jpeg([10, 50])))
def test_pytest_is_parametrised_with_checks(check, request) -> None:
    assert request.node.name == f"test_pytest_is_parametrised_with_checks[{check.name}]"
    check()
