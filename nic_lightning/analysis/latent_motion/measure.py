"""NRMSE of predicted tensors over sweeps and random affine motions (Ulhaq and Bajić, ICASSP 2021, Figures 5, 6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nic_lightning.analysis.latent_motion.error import nrmse
from nic_lightning.analysis.latent_motion.features import Features
from nic_lightning.analysis.latent_motion.frames import MovedFrames
from nic_lightning.analysis.latent_motion.motion import Affine, AffineMotion, Mask, compensate
from nic_lightning.analysis.latent_motion.sweeps import SWEEPS, affine_draws, sweep

Row = dict[str, Any]
FRAME = "frame"
"""The layer that is the frame itself, predicted from the reference frame."""


def curve_rows(
    features: Features,
    scene: tuple[str, MovedFrames],
    counts: dict[str, int],
    limits: dict[str, Sequence[float]] | None = None,
    mask: Mask = "paper",
    batch: int = 16,
) -> Iterator[Row]:
    """A row for each layer and value of each sweep: `motion`, `value`, `layer`, `nrmse`, `item`.

    Args:
        features: the network.
        scene: name and frames of an image.
        counts: values of each sweep that is wanted.
        limits: other ranges than those of the paper's plots, by sweep.
        mask: as in `compensate`.
        batch: moved frames in the network at once.
    """
    item, frames = scene
    for name, count in counts.items():
        values = sweep(name, count, (limits or {}).get(name))
        errors = motion_errors(features, frames, [motion for _, motion in values], mask, batch)
        for (value, _), found in zip(values, errors, strict=True):
            for layer, error in found.items():
                yield {"motion": name, "value": value, "layer": layer, "nrmse": error, "item": item}


def histogram_rows(
    features: Features,
    scenes: Sequence[tuple[str, MovedFrames]],
    count: int = 2048,
    seed: int = 0,
    mask: Mask = "paper",
    batch: int = 16,
) -> Iterator[Row]:
    """A row for each layer and random affine motion: `layer`, `nrmse`, `item`, `draw`, and the seven parameters.

    The draws are dealt to the scenes in turns: draw i is of scene i modulo their number.
    """
    draws = affine_draws(count, seed)
    for number, (item, frames) in enumerate(scenes):
        mine = list(range(number, count, len(scenes)))
        errors = motion_errors(features, frames, [draws[i] for i in mine], mask, batch)
        for place, found in zip(mine, errors, strict=True):
            for layer, error in found.items():
                row = {"motion": "affine", "layer": layer, "nrmse": error, "item": item, "draw": place}
                yield row | draws[place]._asdict()


def motion_errors(
    features: Features, frames: MovedFrames, motions: Sequence[Affine], mask: Mask = "paper", batch: int = 16
) -> Iterator[dict[str, float]]:
    """NRMSE of the frame and of each layer for each motion."""
    with torch.inference_mode():
        reference = features(frames.reference)
        for start in range(0, len(motions), batch):
            motion = AffineMotion(list(motions[start : start + batch]), frames.size)
            moved = frames.moved(motion)
            errors = {FRAME: _errors(moved, compensate(frames.reference, motion, mask=mask))}
            for layer, actual in features(moved).items():
                predicted = compensate(reference[layer], motion, features.geometry[layer], mask, layer)
                errors[layer] = _errors(actual, predicted)
            for i in range(len(motion)):
                yield {layer: found[i] for layer, found in errors.items()}


def _errors(actual: Tensor, predicted: tuple[Tensor, Tensor]) -> list[float]:
    return nrmse(predicted[0], actual, predicted[1]).tolist()


def default_counts(samples: int) -> dict[str, int]:
    """The same number of values for each sweep."""
    return dict.fromkeys(SWEEPS, samples)
