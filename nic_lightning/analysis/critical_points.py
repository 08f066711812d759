"""The points of a cloud that a point-cloud codec looks at: any others can be left out, and the string stays the same.

Qi et al., "PointNet", CVPR 2017, section 5.3; for codecs Ulhaq and Bajić, "Learned point cloud compression for
classification", MMSP 2023. Each channel keeps its largest value over the points, so a codec of N channels has at most N
critical points. Many of them only move a latent inside its bin, so the string needs fewer still.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.errors import UserError


@torch.no_grad()
def critical_points(codec: PointCloudCodec, cloud: Tensor) -> Tensor:
    """Points (C, 3), C <= channels, in the order of the cloud, that have the largest value of some channel.

    A channel that no point excites, all zeros, takes the first point that the codec sees.

    Args:
        codec: in evaluation mode.
        cloud: (P, 3); of one larger than `codec.points` the codec sees a subset, and the points are of that.
    """
    seen = _seen(codec, cloud)
    # In float64 as the encoder is: in float32 two points that nearly tie would be told apart by rounding.
    state = {**dict(codec.g_a.layers.named_parameters()), **dict(codec.g_a.layers.named_buffers())}
    precise = {name: t.detach().double() if t.is_floating_point() else t for name, t in state.items()}
    features: Tensor = torch.func.functional_call(codec.g_a.layers, precise, (seen.double().T[None],))
    return seen[features[0].argmax(dim=1).unique()]


@torch.no_grad()
def minimal_points(codec: PointCloudCodec, cloud: Tensor) -> Tensor:
    """Critical points (M, 3), M >= 1, of which none can be left out without another string; there may be other sets.

    Latents depend monotonically on the set of points, so a point that is once needed stays so when others go, and one
    pass over the points finds such a set. Arguments as of `critical_points`.
    """
    kept = critical_points(codec, cloud)
    wanted = _symbols(codec, kept)
    for point in kept.clone():
        fewer = kept[(kept != point).any(dim=1)]
        if len(fewer) and torch.equal(_symbols(codec, fewer), wanted):
            kept = fewer
    return kept


@dataclass(frozen=True)
class CriticalStudy:
    """What a codec looks at in one cloud, and what it makes of it."""

    seen: Tensor
    """(P, 3): what it encodes, of a larger cloud a subset."""
    critical: Tensor
    """(C, 3), of `critical_points`."""
    minimal: Tensor
    """(M, 3), of `minimal_points`."""
    bits: int
    """Of the cloud in a stream."""
    decided: int
    """The class that the receiver takes for the most probable one."""
    reconstruction: Tensor | None
    """(P', 3); None where the codec makes no points."""
    same: bool
    """Whether the critical points alone give the string of the whole cloud."""


@torch.no_grad()
def study(codec: PointCloudCodec, cloud: Tensor) -> CriticalStudy:
    """Both sets of points of a cloud (P, 3), and its round trip; arguments and errors as of `critical_points`."""
    seen = _seen(codec, cloud)
    critical, point = critical_points(codec, cloud), codec.operating_points[0]
    encoded = codec.compress(seen[None], point)
    result = codec.decompress(encoded, point)
    made = None if result.points is None else result.points[0]
    same = codec.compress(critical[None], point).strings == encoded.strings
    decided = int(result.log_probabilities[0].argmax())
    bits = codec.stream_bits(encoded)
    return CriticalStudy(seen, critical, minimal_points(codec, cloud), bits, decided, made, same)


def point_cloud_codec(codec: object) -> PointCloudCodec:
    """The same codec; UserError for one that has no critical points."""
    if not isinstance(codec, PointCloudCodec):
        raise UserError(f"Codec {getattr(codec, 'name', codec)} has no critical points; give one of codec=point_cloud.")
    return codec


def _seen(codec: PointCloudCodec, cloud: Tensor) -> Tensor:
    if codec.training:
        raise UserError("Critical points are those of a codec in evaluation mode; call codec.eval() first.")
    if cloud.ndim != 2 or cloud.shape[1] != 3 or not len(cloud):
        raise UserError(f"Critical points are those of a cloud (P, 3) of one or more points, not {tuple(cloud.shape)}.")
    return codec.pad(cloud[None])[0]


def _symbols(codec: PointCloudCodec, points: Tensor) -> Tensor:
    return codec.entropy_y.quantise(codec.analysis(points[None], codec.operating_points[0]))
