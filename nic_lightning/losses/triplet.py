"""Triplet margin loss of unit-length pixel features, with negatives from around the true match (Xu et al., CVPR 2017).

DCFlow's features, which the thesis takes over (section 5.3), were trained so: the squared distance of a pixel to its
match shall be smaller, by a margin, than that to pixels 1 to 5 away from the match, of which DCFlow draws three at
random. Taking the most similar ones instead is our option.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

MININGS = ("hardest", "random")


@dataclass(frozen=True)
class Mined:
    """Negatives of M pixels."""

    places: Tensor
    """(M, k, 2) int64, x and y in the second frame."""
    exist: Tensor
    """(M, k) bool; False where fewer than k places of the window lie in the frame."""
    similarity: Tensor
    """(M,) of the most similar place of the whole window, -inf where it is empty."""


@dataclass(frozen=True)
class Triplets:
    """What one batch gives."""

    loss: Tensor
    """Mean over triplets, 0 without any."""
    wins: Tensor
    """Part of the pixels whose match is more similar than every place of the window; 0 without any pixel."""


def triplet_margin(
    first: Tensor,
    second: Tensor,
    targets: Tensor,
    valid: Tensor,
    margin: float = 1.0,
    inner: float = 1.0,
    outer: float = 5.0,
    negatives: int = 3,
    mining: str = "hardest",
) -> Triplets:
    """Mean of [margin + |a - p|^2 - |a - n|^2]_+ over all valid pixels a, their matches p and mined negatives n.

    Args:
        first: features of the first frame, unit length, (N, C, h, w).
        second: of the second frame, (N, C, H, W).
        targets: x and y of each pixel's match in the second frame, whole pixels, (N, 2, h, w) int64.
        valid: which pixels have a match in the second frame that can be seen, (N, h, w) bool.
        margin: in squared distances, which lie in [0, 4].
        inner: places this near to a match are no negatives, in pixels; see `mine`.
        outer: nor are places further away than this.
        negatives: of each pixel.
        mining: "hardest" or "random".
    """
    rows = _rows(second)
    batch, y, x = valid.nonzero(as_tuple=True)
    anchors = first.permute(0, 2, 3, 1)[batch, y, x].float()
    matches = targets.permute(0, 2, 3, 1)[batch, y, x]
    mined = mine(anchors, second, batch, matches, inner, outer, negatives, mining)
    positive = (anchors * rows.index_select(0, _row(batch, matches, second))).sum(-1)
    others = rows.index_select(0, _row(batch[:, None], mined.places, second).flatten())
    negative = (anchors[:, None] * others.view(*mined.places.shape[:2], anchors.shape[1])).sum(-1)
    # |a - b|^2 = 2 - 2 <a, b> for unit vectors
    hinge = F.relu(margin + 2 * (negative - positive[:, None])) * mined.exist
    wins = (positive > mined.similarity).sum() / max(len(anchors), 1)
    return Triplets(hinge.sum() / mined.exist.sum().clamp(min=1), wins)


@torch.no_grad()
def mine(
    anchors: Tensor,
    second: Tensor,
    batch: Tensor,
    matches: Tensor,
    inner: float,
    outer: float,
    negatives: int,
    mining: str = "hardest",
) -> Mined:
    """Places of the second frame near the matches, but not too near.

    Args:
        anchors: features (M, C).
        second: features (N, C, H, W).
        batch: which of the N each anchor belongs to, (M,).
        matches: x and y of the true matches, (M, 2) int64.
        inner: places this far from the match or nearer, in pixels, are none: they may be right within rounding.
        outer: places further away than this are none. DCFlow: 1 to 5 pixels.
        negatives: how many, k.
        mining: "hardest", the most similar ones to the anchor, or "random", as DCFlow.
    """
    height, width = second.shape[2:]
    rows, offsets = _rows(second), window(inner, outer, second.device)
    limits = offsets.new_tensor([width, height])
    similarities = anchors.new_full((len(anchors), len(offsets)), -torch.inf)
    for k, offset in enumerate(offsets):  # all at once would copy the features of the whole window
        places = matches + offset
        inside = ((places >= 0) & (places < limits)).all(-1)
        found = (anchors * rows[_row(batch, places.clamp(min=0).minimum(limits - 1), second)]).sum(-1)
        similarities[:, k] = torch.where(inside, found, -torch.inf)
    inside = similarities > -torch.inf
    order = similarities if mining == "hardest" else torch.rand_like(similarities).where(inside, -torch.inf)
    chosen = order.topk(min(negatives, len(offsets)), dim=1).indices
    exist = inside.gather(1, chosen)
    places = matches[:, None] + offsets[chosen]
    # What does not exist points at the match itself, which is in the frame.
    return Mined(torch.where(exist[..., None], places, matches[:, None]), exist, similarities.amax(1))


def window(inner: float, outer: float, device: torch.device | str = "cpu") -> Tensor:
    """Offsets (K, 2), x and y, of places further than `inner` and at most `outer` pixels away."""
    reach = int(outer)
    line = torch.arange(-reach, reach + 1, device=device)
    offsets = torch.cartesian_prod(line, line).flip(-1)
    distance = offsets.square().sum(-1)
    return offsets[(distance > inner**2) & (distance <= outer**2)]


def _rows(features: Tensor) -> Tensor:
    """(N, C, H, W) as (N * H * W, C) float32."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1]).float()


def _row(batch: Tensor, places: Tensor, features: Tensor) -> Tensor:
    height, width = features.shape[2:]
    return (batch * height + places[..., 1]) * width + places[..., 0]
