from __future__ import annotations

import pytest

from nic_lightning.runs.settings.identity import series

CONFIG = {
    "name": "cae64",
    "seed": 0,
    "codec": {"_target_": "x.Cae", "width": 48, "lmbda": 64.0},
    "data": {"train": "photos", "root": "/a", "crop": 64},
    "task": {"learning_rate": 1e-4},
    "trainer": {"max_steps": 1000, "accelerator": "cpu", "log_every_n_steps": 50, "gradient_clip_val": 1.0},
}


def with_(key: str, value: object) -> dict:
    group, _, name = key.partition(".")
    return CONFIG | {group: {**CONFIG[group], name: value} if name else value}


@pytest.mark.parametrize(
    "same",
    [
        with_("codec.lmbda", 512.0),
        with_("name", "other"),
        with_("data.root", "/b"),
        with_("trainer.accelerator", "gpu"),
    ],
)
def test_runs_that_differ_in_lambda_and_place_are_a_series(same):
    assert series(same) == series(CONFIG) is not None


@pytest.mark.parametrize(
    "other",
    [
        with_("codec.width", 96),
        with_("seed", 1),
        with_("data.crop", 128),
        with_("task.learning_rate", 1e-3),
        with_("trainer.max_steps", 2000),
        with_("trainer.gradient_clip_val", 0.5),
    ],
)
def test_runs_that_differ_in_more_are_none(other):
    assert series(other) != series(CONFIG)


def test_runs_of_several_lambdas_or_of_no_codec_are_in_no_series():
    for codec in ({"lambdas": [64, 512]}, {"qualities": [5]}, None):
        assert series(CONFIG | {"codec": codec}) is None
    assert series(None) is None
    one, other = (series(CONFIG | {"codec": {"lambdas": [value], "width": 4}}) for value in (64, 512))
    assert one == other is not None


def test_runs_around_codecs_that_differ_in_lambda_are_a_series():
    def around(lmbda: float, width: int = 4) -> dict:
        codec = {"_target_": "a.B", "base": {"_target_": "a.C", "lmbda": lmbda, "width": width}, "bins": 64}
        return CONFIG | {"codec": codec, "init_from": f"runs/{lmbda}"}

    assert series(around(64)) == series(around(512)) is not None
    assert series(around(64)) != series(around(64, width=8))
    several = around(64)["codec"] | {"base": {"lambdas": [64, 512]}}
    assert series(CONFIG | {"codec": several}) is None
