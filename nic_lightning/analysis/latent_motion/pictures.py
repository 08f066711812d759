"""What figures of latent motion show: estimated motion fields, and tensors beside their predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nic_lightning.analysis.latent_motion.block_matching import lively, luma, match_blocks, match_tensors
from nic_lightning.analysis.latent_motion.features import Features
from nic_lightning.analysis.latent_motion.frames import MovedFrames
from nic_lightning.analysis.latent_motion.motion import PIXELS, Affine, AffineMotion, Mask, compensate
from nic_lightning.analysis.latent_motion.receptive_field import ReceptiveField

Field = NDArray[np.float32]
EXAMPLES = {
    "translation": Affine(translate_x=24, translate_y=-12),
    "rotation": Affine(rotate=10),
    "stretching": Affine(scale_x=1.2, scale_y=0.9),
    "shearing": Affine(shear_x=10),
}
"""Motions of Figure 4."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Sides of blocks and radii of searches in samples; the defaults are the paper's."""

    block: int = 31
    radius: int = 11
    latent_block: int = 3
    latent_radius: int = 5


@dataclass(frozen=True, eq=False)
class Fields:
    """Motion from a first to a second frame, estimated in the frames and in a layer; all in pixels of the frame."""

    frame: NDArray[np.uint8]
    """(H, W, 3), the first."""
    in_frame: Field
    """(H, W, 2), x to the right and y down, NaN along the border."""
    layer: str
    geometry: ReceptiveField
    in_channels: list[tuple[int, Field]]
    """Channels with the largest deviation, and the field (h, w, 2) of each."""
    in_layer: Field
    """(h, w, 2) of all channels together that vary."""


@torch.inference_mode()
def estimated_fields(
    features: Features, layer: str, first: Tensor, second: Tensor, matching: Matching | None = None, channels: int = 4
) -> Fields:
    """Block matching of two frames (1, 3, H, W) and of their tensors (Figure 2)."""
    matching = matching or Matching()
    geometry = features.geometry[layer]
    one, other = (luma(frame[0].cpu().numpy()) for frame in (first, second))
    in_frame = match_blocks(one, other, matching.block, matching.radius)
    a, b = (features(frame)[layer][0].cpu().numpy() for frame in (first, second))
    order = lively(a)[np.argsort(-a[lively(a)].reshape(len(lively(a)), -1).std(1), kind="stable")]
    sizes = matching.latent_block, matching.latent_radius
    alone = [(int(c), geometry.stride * match_blocks(a[c], b[c], *sizes)) for c in order[:channels]]
    together = geometry.stride * match_tensors(a, b, *sizes)
    return Fields(_pixels(first[0]), in_frame, layer, geometry, alone, together)


def field_error(field: Field, truth: Field, geometry: ReceptiveField = PIXELS, radius: float = math.inf) -> float:
    """Mean end-point error in pixels of a field (h, w, 2) against true flow (H, W, 2); NaN if nothing can be compared.

    Left out is what no search can find: what is unknown on either side, what moves to where no block fits, and what
    moves further than `radius` values along an axis.
    """
    height, width = field.shape[:2]
    y, x = (
        np.clip(np.rint(np.arange(n) * geometry.stride + geometry.offset).astype(int), 0, length - 1)
        for n, length in zip((height, width), truth.shape[:2], strict=True)
    )
    true = truth[y[:, None], x]
    known = np.isfinite(field).all(-1) & np.isfinite(true).all(-1)
    if not known.any():
        return math.nan
    steps = np.where(known[..., None], true, 0) / geometry.stride
    ends = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) + steps
    places = np.argwhere(known)[:, ::-1]
    found = (ends >= places.min(0)) & (ends <= places.max(0)) & (np.abs(steps) <= radius)
    compared = known & found.all(-1)
    return float(np.linalg.norm(field - true, axis=-1)[compared].mean()) if compared.any() else math.nan


@dataclass(frozen=True, eq=False)
class Panel:
    """One motion: the moved frame, and channels of its tensor beside those that are predicted."""

    name: str
    frame: NDArray[np.uint8]
    """(H, W, 3)."""
    actual: Field
    """(C, h, w), in standard deviations of each channel of the reference, from its mean; so is the prediction."""
    predicted: Field
    valid: NDArray[np.bool_]
    """(h, w)."""


@torch.inference_mode()
def panels(
    features: Features, layer: str, frames: MovedFrames, mask: Mask = "paper", channels: int = 3
) -> Iterator[Panel]:
    """A panel for each of `EXAMPLES` (Figure 4), of the channels with the largest deviation."""
    reference = features(frames.reference)[layer]
    spread = reference[0].flatten(1).std(1)
    chosen = spread.argsort(descending=True)[:channels]
    mean, deviation = reference[:, chosen].mean((2, 3), keepdim=True), spread[chosen, None, None].clamp_min(1e-9)
    for name, parameters in EXAMPLES.items():
        motion = AffineMotion([parameters], frames.size)
        moved = frames.moved(motion)
        predicted, valid = compensate(reference, motion, features.geometry[layer], mask, layer)
        both = [((t[:, chosen] - mean) / deviation)[0].cpu().numpy() for t in (features(moved)[layer], predicted)]
        yield Panel(name, _pixels(moved[0]), both[0], both[1], valid[0, 0].cpu().numpy())


def _pixels(frame: Tensor) -> NDArray[np.uint8]:
    return (frame.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
