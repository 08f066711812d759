"""What users name for an evaluation: classic codecs and operating points."""

from __future__ import annotations

from collections.abc import Sequence

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import is_learned
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.errors import UserError, choices


def classic_codecs(names: Sequence[str]) -> list[ImageCodec]:
    """Codecs of conf/codec by name, such as "jpeg" and "webp", for use as baselines."""
    from hydra.utils import instantiate

    codecs = []
    for name in names:
        config = compose("evaluate", [f"codec={name}"])
        problems = check_targets(config)
        if problems:
            raise ConfigError(" ".join(problems))
        codec = instantiate(config.codec, _convert_="all")
        if is_learned(codec):
            raise UserError(f"The baseline '{name}' is a learned codec without weights; evaluate its run instead.")
        codecs.append(codec)
    return codecs


def points_of(codec: ImageCodec, labels: Sequence[str] | None) -> list[OperatingPoint] | None:
    """Operating points by their labels, None for None; UserError for a label that the codec does not have."""
    return None if labels is None else [_point(codec, label) for label in labels]


def _point(codec: ImageCodec, label: str) -> OperatingPoint:
    if is_learned(codec):
        return codec.point(label)
    found = {point.label: point for point in codec.operating_points}
    if label not in found:
        raise UserError(f"{codec.name} has no operating point '{label}'; {choices(label, found)}.")
    return found[label]
