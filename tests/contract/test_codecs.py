"""What every codec of conf/codec promises: a new method is held to it as soon as its YAML exists."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from nic_lightning.baselines.still import MissingCodec
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.config import check_targets, compose
from nic_lightning.testing import Check, check_names, codec_checks, excited

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "codec").glob("*.yaml"))
SMALL = {"width": 8, "hidden": 6, "base": 4, "widest": 8, "latents": 6, "hyper": 4, "halvings": 2, "size": 32}
"""Arguments that are made small wherever a codec has them; lists of widths are divided by 24."""

EXCITEMENT = {"light": 2.0, "mean_scale": 2.0, "mbt2018-mean": 2.0}
"""Of codecs whose latents would leave their tables by far at 4: an escaped symbol takes more than the 30 bits that the
estimate counts for it at most."""


@pytest.fixture(scope="module", params=NAMES)
def config(request) -> dict:
    """Plain config of a codec, made small."""
    composed = compose("train", [f"codec={request.param}"])
    assert check_targets(composed) == []
    plain = OmegaConf.to_container(composed.codec, resolve=True)
    assert isinstance(plain, dict)
    return small(plain)


def small(config: dict) -> dict:
    """The same with small arguments, those of a wrapped codec's config included."""
    made = config | {key: value for key, value in SMALL.items() if isinstance(config.get(key), int)}
    if "arch" in config:  # null stands for the sizes of the architecture
        made |= {"width": SMALL["width"], "latents": SMALL["latents"]}
    for key in config.keys() & {"widths", "hyper_widths"}:
        made[key] = [max(2, width // 24) for width in config[key]]
    return {key: small(value) if isinstance(value, dict) else value for key, value in made.items()}


@pytest.fixture(scope="module")
def checks(config) -> dict[str, Check]:
    """The checks that apply to a codec, by name."""
    torch.manual_seed(0)
    try:
        codec = instantiate(config, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, MissingCodec):
            raise
        pytest.skip(str(error.__cause__))  # tests/baselines has stand-ins for programs
    if hasattr(codec, "accompany"):  # it is measured beside a codec that classifies
        beside = PointCloudCodec(classes=3).eval()
        beside.update_tables()
        codec.accompany(beside)
    if isinstance(codec, LearnedCodec):
        excited(codec, EXCITEMENT.get(codec.name, 4.0))
    return {check.name: check for check in codec_checks(codec, config)}


@pytest.mark.parametrize("name", check_names())
def test_contract(checks: dict[str, Check], name: str) -> None:
    if name not in checks:
        pytest.skip("classic codecs have no weights, some learned ones a single width, and strips are of images")
    checks[name]()
