"""`nic inspect`: what a codec costs."""

from __future__ import annotations

import json
import re

from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.errors import UserError


def inspect(overrides: list[str], size: str, as_json: bool = False) -> None:
    """Print parameters, multiply-accumulates and memory of the codec that the overrides of train.yaml name."""
    height, width = parse_size(size)
    config = compose("train", overrides)
    problems = [p for p in check_targets(config, missing_ok=True) if p.startswith("codec")]
    if problems:
        raise ConfigError(" ".join(problems))

    from hydra.utils import instantiate

    from nic_lightning.analysis.efficiency import measure, table
    from nic_lightning.codecs.learned import LearnedCodec

    codec = instantiate(config.codec)
    if not isinstance(codec, LearnedCodec):
        raise UserError(f"{config.codec._target_} is not a learned codec: it has no layers to count.")
    cost = measure(codec, (height, width))
    print(json.dumps(cost.as_dict(), indent=2) if as_json else table(cost))


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of "512x768"."""
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not match or "0" in match.groups():
        raise UserError(f"'{text}' is not an image size; write height x width, such as 512x768.")
    return int(match[1]), int(match[2])
