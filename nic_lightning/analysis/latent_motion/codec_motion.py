"""Motion compensation around a learned codec: of its latents, or of its frames.

A receiver has the reference frame, decoded, and its latents; the true flow is known to both sides and costs nothing.
What remains of the other frame can be coded in five ways, all by the codec's own transforms and entropy models:

    frame               y = g_a(x), as if there were no reference
    still               y - y_ref                               latents predicted by those at the same place
    latent motion       y - warp(y_ref), Eq. 12                 latents predicted by moved latents
    frame motion        y - g_a(warp(x_ref))                    latents predicted by those of the moved frame
    frame residual      g_a(x - warp(x_ref) + 1/2)              the residual of the moved frame coded as a frame

The question is that of Ulhaq and Bajić (ICASSP 2021), who looked at networks for recognition; codecs are ours. Where
the flow is unknown, leaves the frame or is occluded, nothing is predicted: a value goes as it is. Residuals are centred
where the latents are, so that the entropy models, which were trained on latents, fit them as well as they can; beside
their bits stand those of each channel's own entropy (zero order, tables for nothing), which no model biases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.analysis.latent_motion.error import nrmse
from nic_lightning.analysis.latent_motion.features import Features
from nic_lightning.analysis.latent_motion.measure import FRAME
from nic_lightning.analysis.latent_motion.motion import (
    PIXELS,
    Affine,
    AffineMotion,
    FlowMotion,
    Motion,
    compensate,
    grid_places,
    sample,
)
from nic_lightning.analysis.latent_motion.networks import LATENTS, analysis_features
from nic_lightning.analysis.latent_motion.receptive_field import ReceptiveField
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError
from nic_lightning.media.image.fidelity import precise_psnr

WAYS = ("frame", "still", "latent motion", "frame motion", "frame residual")
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """A frame, its reference and what is known of the motion between them, cut to sizes that the codec does not pad."""

    item: str
    frame: Tensor
    """(1, 3, H, W) in [0, 1], as is the reference."""
    reference: Tensor
    motion: Motion
    """From places of the frame to places of the reference."""
    hidden: Tensor | None = None
    """(1, 1, H, W) bool: what the reference does not show, or whose motion is not known."""

    def visible(self, field: ReceptiveField, height: int, width: int) -> Tensor:
        """Which values (1, 1, h, w) of a tensor have nothing hidden in the stride x stride pixels around them."""
        if self.hidden is None:
            return torch.ones(1, 1, height, width, dtype=torch.bool)
        reach = math.ceil((field.stride - 1) / 2)
        spread = F.max_pool2d(F.pad(self.hidden.float(), [reach] * 4), 2 * reach + 1, 1) > 0
        y, x = (
            (torch.arange(n) * field.stride + field.offset).round().long().clamp(0, length - 1)
            for n, length in zip((height, width), spread.shape[-2:], strict=True)
        )
        return ~spread[..., y[:, None], x]


def flow_pair(item: str, frame: Tensor, reference: Tensor, flow: Tensor, hidden: Tensor | None, multiple: int) -> Pair:
    """A pair with dense flow (H, W, 2), NaN where unknown, and pixels (H, W) that are hidden in the reference.

    Raises UserError where the frame is smaller than `multiple`, of which its sides are made multiples by cutting.
    """
    height, width = (length // multiple * multiple for length in frame.shape[-2:])
    if not height or not width:
        raise UserError(f"{item} is smaller than {multiple}x{multiple} pixels, the coarsest grid of this codec.")
    flow = flow[:height, :width]
    unknown = ~torch.isfinite(flow).all(-1)
    covered = unknown if hidden is None else unknown | hidden[:height, :width]
    first, second = (one[None, :, :height, :width].float() for one in (frame, reference))
    return Pair(item, first, second, FlowMotion(torch.nan_to_num(flow)[None]), covered[None, None])


def shifted_pair(item: str, photo: Tensor, size: tuple[int, int], shift: int) -> Pair:
    """Two crops of a photograph (3, H, W), `shift` pixels apart: what the frame shows lies that much to its right."""
    height, width = size
    if photo.shape[-2] < height or photo.shape[-1] < width + shift:
        raise UserError(f"{item} is smaller than {width + shift}x{height} pixels, which shifts by {shift} need.")
    first, second = photo[None, :, :height, shift : width + shift], photo[None, :, :height, :width]
    return Pair(item, first.float(), second.float(), AffineMotion([Affine(translate_x=-float(shift))], size))


@torch.inference_mode()
def error_rows(features: Features, pair: Pair) -> Iterator[Row]:
    """NRMSE of each layer, and of the frame, predicted in three ways: `layer`, `way`, `nrmse`, `valid`.

    "latent motion" compensates the layer of the reference; "frame motion" is the layer of the compensated reference
    frame; "still" is the layer of the reference as it is. All are over the same values, a part `valid` of the tensor:
    those that are visible, and see nothing of the border of the frame (mask "interior").
    """
    moved = moved_frame(pair.reference, pair)
    frame, reference, features_of_moved = (features(one) for one in (pair.frame, pair.reference, moved))
    for layer, field in {FRAME: PIXELS, **features.geometry}.items():
        actual = pair.frame if layer == FRAME else frame[layer]
        still = pair.reference if layer == FRAME else reference[layer]
        of_moved = moved if layer == FRAME else features_of_moved[layer]
        predicted, valid = compensate(still, pair.motion, field, "interior", layer)
        valid &= pair.visible(field, *actual.shape[-2:])
        ways = {"still": still, "latent motion": predicted, "frame motion": of_moved}
        for way, prediction in ways.items():
            error = nrmse(prediction, actual, valid).item()
            yield {"layer": layer, "way": way, "nrmse": error, "valid": valid.float().mean().item(), "item": pair.item}


@torch.inference_mode()
def rate_rows(codec: LearnedCodec, point: OperatingPoint, pair: Pair) -> Iterator[Row]:
    """Estimated bits per pixel and PSNR of the frame in each of `WAYS`: `way`, `label`, `bpp`, `bpp_ideal`, `psnr`.

    Everything is predicted from the decoded reference.
    """
    decoded = codec(pair.reference, point)
    reference = decoded.x_hat.clamp(0, 1)
    field = latent_field(codec, point)
    y = codec.analysis(pair.frame, point)
    centre = decoded.y_hat.flatten(2).median(2).values[..., None, None]
    moved_latents, valid = compensate(decoded.y_hat, pair.motion, field, "strict", LATENTS)
    visible = pair.visible(field, *y.shape[-2:])
    moved = moved_frame(reference, pair)
    predictions = {
        "frame": centre.expand_as(y),
        "still": decoded.y_hat,
        "latent motion": torch.where(valid & visible, moved_latents, centre),
        "frame motion": torch.where(valid & visible, codec.analysis(moved, point), centre),
    }
    for way, prediction in predictions.items():
        residual, likelihoods = codec.likelihoods(y - prediction + centre, point)
        image = codec.synthesis(residual - centre + prediction, point)
        yield _rate_row(pair, point, way, residual, likelihoods, image)
    moved = torch.where(predicted_pixels(pair), moved, reference.mean((2, 3), keepdim=True))
    coded = codec(pair.frame - moved + 0.5, point)
    image = coded.x_hat - 0.5 + moved
    yield _rate_row(pair, point, "frame residual", coded.y_hat, coded.likelihoods, image)


def moved_frame(reference: Tensor, pair: Pair) -> Tensor:
    """The reference frame moved, with a value everywhere: hidden pixels show what the flow finds, the border goes on.

    Holes of one colour would reach far into the latents around them.
    """
    height, width = reference.shape[-2:]
    source = pair.motion.source(grid_places(height, width))
    return sample(reference, source.clamp(torch.zeros(2), torch.tensor([width - 1, height - 1])))[0].clamp(0, 1)


def predicted_pixels(pair: Pair) -> Tensor:
    """Pixels (1, 1, H, W) that are found in the reference frame."""
    ones = torch.ones_like(pair.reference[:, :1])
    return compensate(ones, pair.motion, mask="strict")[1] & pair.visible(PIXELS, *ones.shape[-2:])


def latent_field(codec: LearnedCodec, point: OperatingPoint) -> ReceptiveField:
    """Where the codec's latents lie in the frame."""
    return analysis_features(codec, point, [LATENTS]).geometry[LATENTS]


def ideal_bits(symbols: Tensor) -> float:
    """Entropy of each channel's own symbols (1, C, h, w) times their number, summed over channels."""
    total, count = 0.0, symbols[0, 0].numel()
    for channel in symbols[0].flatten(1):
        frequencies = channel.unique(return_counts=True)[1].double()
        total -= float((frequencies * (frequencies / count).log2()).sum())
    return total


def _rate_row(
    pair: Pair, point: OperatingPoint, way: str, symbols: Tensor, likelihoods: Mapping[str, Tensor], image: Tensor
) -> Row:
    pixels = pair.frame.shape[-2] * pair.frame.shape[-1]
    bits = {name: -float(values.double().log2().sum()) for name, values in likelihoods.items()}
    side = sum(value for name, value in bits.items() if name != LATENTS)
    rates = {"bpp": sum(bits.values()) / pixels, "bpp_ideal": (ideal_bits(symbols) + side) / pixels}
    psnr = float(precise_psnr(pair.frame, image))
    return {"item": pair.item, "way": way, "label": point.label, "psnr": psnr} | rates


def shift_rows(
    codec: LearnedCodec, point: OperatingPoint, features: Features, photo: Tensor, item: str, shifts: range, size: int
) -> Iterator[Row]:
    """Error and rate rows, with the shift as `value`, of crops of a photograph that many whole pixels apart.

    No frame is interpolated, so the rows show what strides do: a shift by a part of a stride falls between latents.
    """
    side = size // codec.downsampling * codec.downsampling
    for shift in shifts:
        pair = shifted_pair(item, photo, (side, side), shift)
        for row in (*error_rows(features, pair), *rate_rows(codec, point, pair)):
            yield row | {"motion": "shift", "value": float(shift)}
