"""Clouds encoded a second: our codec and CompressAI's parts, with the same weights, in turns."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers.pointcloud.pointnet import pointnet_g_a_simple
from torch import Tensor, nn

from nic_lightning.benchmarks.timing import alternate, set_threads_and_seed
from nic_lightning.codecs.point_cloud import SIZES, PointCloudCodec
from nic_lightning.errors import UserError, counted
from nic_lightning.layers.points import Gain
from nic_lightning.media.cloud.handler import CloudHandler

CLASSES = 40
TAIL_MASS = 1e-4
"""Of the authors' entropy bottleneck: its tables are shorter than those of CompressAI's default."""
DIFFERING = 1e-3
"""Share of symbols that may differ by 1: errors of the peer, which sums in float32, are up to 1e-4 of a bin."""
_WARMING = (16, 128)
"""Clouds and their points whose statistics the untrained networks get."""


def main(sizes: Sequence[str], points: Sequence[int], *, clouds: int, rounds: int, threads: int) -> None:
    """Print clouds a second of both sides, as medians, and the median of the ratios of a round."""
    unknown = [size for size in sizes if size not in SIZES]
    if unknown or min(points) < 1:
        raise UserError(f"Sizes are {', '.join(SIZES)}, and a cloud has a point: not {(unknown or [min(points)])[0]}.")
    used = set_threads_and_seed(threads)
    print(f"{counted(clouds, 'cloud')} a round, {counted(used, 'thread')}, medians of {counted(rounds, 'round')}")
    print(f"{'size':6}{'points':>7}  {'':9}{'ours':>11}{'CompressAI':>12}  ratio")
    for size in sizes:
        codec, peer = pair(size)
        for count in points:
            x = CloudHandler().example(1, count, clouds)
            differing = require_same_symbols(codec, peer, x)
            for kind, functions in ways(codec, peer).items():
                _print(f"{size:6}{count:7}  {kind:9}", x, functions, rounds)
            if differing:
                print(f"{'':15}{counted(differing, 'symbol')} of {clouds * codec.entropy_y.channels:,} differ by 1")


class Peer(nn.Module):
    """CompressAI's encoder of points and its entropy bottleneck, with the weights and medians of a codec."""

    def __init__(self, codec: PointCloudCodec):
        super().__init__()
        channels, groups = SIZES[codec.size]
        self.g_a = pointnet_g_a_simple(list(channels), list(groups))
        self.entropy_bottleneck = EntropyBottleneck(channels[-1], tail_mass=TAIL_MASS)
        own, others = _with_weights(codec.g_a), _with_weights(self.g_a)
        for one, other in zip(own, others, strict=True):
            other.load_state_dict(dict(zip(other.state_dict(), one.state_dict().values(), strict=True)))
        density = dict(codec.entropy_y.named_parameters())
        self.entropy_bottleneck.load_state_dict(density, strict=False)
        self.eval().requires_grad_(False)
        self.entropy_bottleneck.update(force=True, update_quantiles=True)
        self.entropy_bottleneck.quantiles[:, :, 1] = codec.entropy_y.quantiles[:, :, 1]
        self.entropy_bottleneck.update(force=True)

    def compress(self, x: Tensor) -> list[bytes]:
        """Strings of clouds (N, P, 3)."""
        return self.entropy_bottleneck.compress(self.g_a(x.transpose(1, 2)))

    def symbols(self, x: Tensor) -> Tensor:
        """What `compress` codes, (N, C)."""
        medians = self.entropy_bottleneck.quantiles[:, 0, 1][:, None]
        return self.entropy_bottleneck.quantize(self.g_a(x.transpose(1, 2)), "symbols", medians)[..., 0]


def _with_weights(module: nn.Module) -> list[nn.Module]:
    """Convolutions, normalisations and gains in their order."""
    return [m for m in module.modules() if isinstance(m, nn.Conv1d | nn.BatchNorm1d) or type(m).__name__ == "Gain"]


@torch.no_grad()
def pair(size: str) -> tuple[PointCloudCodec, Peer]:
    """An untrained codec whose latents vary like those of a trained one, 0 to some 20, and the peer."""
    codec = PointCloudCodec(size, CLASSES, points=1 << 16)
    clouds, points = _WARMING
    for layer in codec.g_a.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = None  # the mean over the batches
            nn.init.normal_(layer.bias, 0, 0.5)
        elif isinstance(layer, Gain):
            layer.weight.fill_(0.2)
    codec.g_a.train()(CloudHandler().example(1, points, clouds, seed=1))
    codec.update_tables()
    codec.eval().requires_grad_(False)
    return codec, Peer(codec)


@torch.no_grad()
def require_same_symbols(codec: PointCloudCodec, peer: Peer, x: Tensor) -> int:
    """How many symbols differ; AssertionError where it are more than rounding explains."""
    ours = np.stack(list(codec.symbols(x.split(1), codec.operating_points[0])))
    difference = np.abs(ours - peer.symbols(x).numpy())
    differing = int((difference > 0).sum())
    assert difference.max() <= 1, f"symbols differ by {difference.max()}"
    assert differing <= DIFFERING * difference.size, f"{differing} of {difference.size} symbols differ"
    return differing


Way = Callable[[Tensor], object]


def ways(codec: PointCloudCodec, peer: Peer) -> dict[str, tuple[Way, Way]]:
    """Clouds (N, P, 3) to bytes, by ours and by the peer. The peer has neither files nor streams, only strings."""
    point = codec.operating_points[0]

    @torch.no_grad()
    def theirs_each(x: Tensor) -> list[bytes]:
        return [string for cloud in x.split(1) for string in peer.compress(cloud)]

    def stream(x: Tensor) -> bytes:
        file = io.BytesIO()
        codec.encode_stream(file, x.split(1), point)
        return file.getvalue()

    def files(x: Tensor) -> list[bytes]:
        return [codec.file_of(cloud, point) for cloud in x.split(1)]

    return {
        "stream": (stream, theirs_each),
        "files": (files, theirs_each),
        "batch": (lambda x: codec.compress(x, point).strings[0], torch.no_grad()(peer.compress)),
    }


def _print(title: str, x: Tensor, functions: tuple[Way, Way], rounds: int) -> None:
    ours, theirs = alternate(rounds, x, *functions)
    rates = [len(x) / statistics.median(series) for series in (ours, theirs)]
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"{title}{rates[0]:9,.0f}/s{rates[1]:10,.0f}/s  {ratio:5.2f}", flush=True)
