"""Known motion of frames, and the same motion in feature tensors (Ulhaq and Bajić, ICASSP 2021, Eq. 12).

A motion says for each place of the moved frame where in the reference frame its content comes from. The value at
place u of a tensor lies at s u + o in the frame (stride s, offset o of `receptive_field.py`), so the tensor of the
moved frame is predicted by that of the reference frame at

    ( source(s u + o) - o ) / s                                        v / s, the paper's v / n^k, for a shift by v

which is exact for every motion and offset; both are sampled bicubically, with zeros outside. Places are pixels, x to
the right and y down, pixel centres at whole numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.analysis.latent_motion.receptive_field import ReceptiveField
from nic_lightning.errors import UserError

Mask = Literal["paper", "strict", "interior"]
STRICT = 1e-3
"""How far the weights of the samples inside the tensor may sum to from 1 in a strict mask: the fact is 0, the rounding
of sixteen float32 products is below 1e-5, and a tap that is missing counts .01 or more but for sub-pixel shifts of
less than .02."""
TOUCHED = 1e-5
"""Weights below are rounding: the value touches no sample, and its prediction would be 0."""
_WHOLE = 1e-9
"""Places that near to whole numbers are whole: float64 places of frames are exact to 1e-12 of a pixel."""
PIXELS = ReceptiveField(1, 1, 0.0)
"""Where the samples of a frame lie."""


class Motion(Protocol):
    """Motions of N frames."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        ...

    def source(self, places: Tensor) -> Tensor:
        """Where the content at places (..., 2) of moved frames comes from, (N, ..., 2), both as x and y in pixels."""
        ...

    def __len__(self) -> int: ...


class Affine(NamedTuple):
    """The seven parameters of an affine motion, about the centre of the frame; no motion by default."""

    translate_x: float = 0.0
    """Pixels to the right."""
    translate_y: float = 0.0
    """Pixels down."""
    scale_x: float = 1.0
    scale_y: float = 1.0
    shear_x: float = 0.0
    """Degrees by which vertical lines lean to the right, at the top."""
    shear_y: float = 0.0
    rotate: float = 0.0
    """Degrees, counter-clockwise as seen."""

    def linear(self) -> Tensor:
        """R(rotate) diag(scale) [[1, tan shear_x], [tan shear_y, 1]] as (2, 2) float64, with y down.

        With y up it is the product as it stands; turning the axis flips the signs of the off-diagonal entries.
        """
        turn, lean_x, lean_y = (math.radians(angle) for angle in (self.rotate, self.shear_x, self.shear_y))
        rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]).double()
        scaling = torch.diag(torch.tensor([self.scale_x, self.scale_y]).double())
        shear = torch.tensor([[1.0, math.tan(lean_x)], [math.tan(lean_y), 1.0]]).double()
        with_y_up = rotation @ scaling @ shear
        return with_y_up * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double()

    @property
    def name(self) -> str:
        """What moves, such as "rotate 10, translate_x 3"."""
        none = Affine()
        moved = [f"{key} {value:g}" for key, value in self._asdict().items() if value != getattr(none, key)]
        return ", ".join(moved) or "no motion"


class AffineMotion:
    """Affine motions of frames of one size: what is at p goes to A (p - c) + c + t, c the centre of the frame.

    Args:
        parameters: one a frame.
        size: (H, W) of the frames.

    Raises:
        UserError: a motion flattens the frame to a line.
    """

    def __init__(self, parameters: list[Affine], size: tuple[int, int]) -> None:
        self.parameters, self.size = list(parameters), size
        linear = torch.stack([one.linear() for one in self.parameters])
        flat = linear.det().abs() < 1e-6
        if flat.any():
            raise UserError(f"The motion {self.parameters[int(flat.int().argmax())].name} flattens a frame to a line.")
        self._back = torch.linalg.inv(linear)
        self._shift = torch.tensor([[p.translate_x, p.translate_y] for p in self.parameters]).double()
        self._centre = torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2]).double()

    def __len__(self) -> int:
        return len(self.parameters)

    def source(self, places: Tensor) -> Tensor:
        """A^-1 (q - c - t) + c, (N, ..., 2) float64."""
        away = places.double() - self._centre - self._shift.view(-1, *[1] * (places.dim() - 1), 2)
        return torch.einsum("nij,n...j->n...i", self._back, away) + self._centre


@dataclass(frozen=True, eq=False)
class FlowMotion:
    """Dense motion: what is seen at p of frame n of the moved frames is seen at p + flow[n, p] of the reference.

    `flow` is (N, H, W, 2) in pixels, NaN where unknown; between pixels it is interpolated linearly, and where a
    neighbour is unknown or outside, so is it.
    """

    flow: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the flow."""
        return self.flow.shape[1], self.flow.shape[2]

    def __len__(self) -> int:
        return len(self.flow)

    def source(self, places: Tensor) -> Tensor:
        """(N, ..., 2) float64, NaN where the flow is not known."""
        height, width = self.flow.shape[1:3]
        flat = places.reshape(1, -1, 1, 2).expand(len(self), -1, -1, -1)
        grid = _normalised(flat.double(), height, width)
        known = torch.isfinite(self.flow).all(-1, keepdim=True)
        planes = torch.cat([torch.where(known, self.flow, 0.0), known], -1).double().permute(0, 3, 1, 2)
        sampled = F.grid_sample(planes, grid, "bilinear", "zeros", align_corners=True)[..., 0].mT
        flow = torch.where(sampled[..., 2:] > 1 - 1e-6, sampled[..., :2], math.nan)
        return places.double() + flow.view(len(self), *places.shape)


def no_motion(count: int, size: tuple[int, int]) -> AffineMotion:
    """Frames that stand still."""
    return AffineMotion([Affine()] * count, size)


def compensate(
    reference: Tensor, motion: Motion, field: ReceptiveField = PIXELS, mask: Mask = "paper", name: str = "the frame"
) -> tuple[Tensor, Tensor]:
    """Predict the tensor of moved frames by that of the reference frames: motion compensation.

    Args:
        reference: (N, C, h, w), or (1, C, h, w) for all motions.
        motion: of the frames.
        field: where the values of the tensor lie in the frame; by default it is a frame itself.
        mask: which values count: "paper", those that some sample of the reference touches, as the authors' code has
            it; "strict", those whose samples all lie inside; "interior", those of which neither they nor their source
            see the border of the frame, which stands still when the rest moves.
        name: of the tensor, for sentences.

    Returns:
        The prediction (N, C, h, w), and where it can be made, (N, 1, h, w) bool.

    Raises:
        UserError: no value can be predicted.
    """
    height, width = reference.shape[-2:]
    places = grid_places(height, width, field)
    source = (motion.source(places) - field.offset) / field.stride
    known = torch.isfinite(source).all(-1)
    source = torch.where(known[..., None], source, -1e4)  # beyond every tensor
    predicted, weight = sample(reference.expand(len(motion), -1, -1, -1), source)
    valid = weight.abs() > TOUCHED if mask == "paper" else (weight - 1).abs() < STRICT
    if mask == "interior":
        for centres in (places, source * field.stride + field.offset):
            known = known & _sees_no_border(centres, motion.size, field)
    valid &= known[:, None].to(valid.device)
    empty = ~valid.flatten(1).any(1)
    if empty.any():
        number = int(empty.int().argmax())
        what = motion.parameters[number].name if isinstance(motion, AffineMotion) else "flow"
        raise UserError(
            f"The motion ({what}) leaves no value of {name} ({width}x{height}) to predict; give a smaller motion, "
            "larger frames, or mask=paper."
        )
    return predicted, valid


def _sees_no_border(centres: Tensor, size: tuple[int, int], field: ReceptiveField) -> Tensor:
    """Which values have their whole receptive field in the frame, by its centres (..., 2)."""
    reach = (field.size - 1) / 2
    last = torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64)
    return ((centres - reach > -_WHOLE) & (centres + reach < last + _WHOLE)).all(-1)


def sample(tensor: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N, C, h, w) at places (N, h, w, 2), and the sum of their weights inside the tensor, (N, 1, h, w).

    Where all places of a sample are whole numbers its values are copies: shifts by whole samples are exact.
    """
    height, width = tensor.shape[-2:]
    ones = torch.ones(1, 1, height, width).to(tensor).expand(len(tensor), -1, -1, -1)
    grid = _normalised(places, height, width).to(tensor)
    sampled, weight = (F.grid_sample(planes, grid, "bicubic", "zeros", align_corners=True) for planes in (tensor, ones))
    whole = ((places - places.round()).abs() < _WHOLE).flatten(1).all(1)
    for number in whole.nonzero()[:, 0].tolist():
        x, y = places[number].round().long().to(tensor.device).unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        sampled[number] = tensor[number][:, y.clamp(0, height - 1), x.clamp(0, width - 1)] * inside
        weight[number, 0] = inside.to(weight)
    return sampled, weight


def grid_places(height: int, width: int, field: ReceptiveField = PIXELS) -> Tensor:
    """Where in the frame the values of a tensor of that size lie, (h, w, 2) float64, x and y in pixels."""
    y, x = (torch.arange(length, dtype=torch.float64) * field.stride + field.offset for length in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def _normalised(places: Tensor, height: int, width: int) -> Tensor:
    """Index coordinates as `grid_sample` takes them with align_corners: -1 is the first sample, 1 the last."""
    scale = torch.tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)], dtype=places.dtype, device=places.device)
    return places * scale - 1
