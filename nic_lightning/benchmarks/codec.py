"""`nic bench codec`: our training step and our coding against CompressAI's, alternating, in one process.

The peer is built from CompressAI's parts with the layers of the thesis' autoencoder, trained as in CompressAI's example
script: two Adams, clipping over all parameters, a second backward pass for the auxiliary loss.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import GDN
from compressai.losses import RateDistortionLoss
from compressai.models import CompressionModel
from compressai.models.utils import conv, deconv
from compressai.optimizers import net_aux_optimizer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nic_lightning.analysis.sizes import parse_size
from nic_lightning.benchmarks.timing import alternate, set_threads_and_seed
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import counted
from nic_lightning.losses.rate_distortion import COMPRESSAI_FACTOR, rate_distortion

LMBDA = 1024.0


class Peer(CompressionModel):
    """The autoencoder of `codecs/cae.py` out of CompressAI's layers and entropy bottleneck."""

    def __init__(self, width: int):
        super().__init__()
        w = width
        self.entropy_bottleneck = EntropyBottleneck(w, filters=(3, 3, 3))
        last = nn.Conv2d(w, w, 5, 2, 2, bias=False)
        self.g_a = nn.Sequential(conv(3, w, 9, 4), GDN(w), conv(w, w, 5, 2), GDN(w), last, GDN(w))
        inverse = [GDN(w, inverse=True) for _ in range(3)]
        up = [deconv(w, w, 5, 2), deconv(w, w, 5, 2), deconv(w, 3, 9, 4)]
        self.g_s = nn.Sequential(*(layer for pair in zip(inverse, up, strict=True) for layer in pair))

    def forward(self, x: Tensor) -> dict:
        """Reconstruction and likelihoods."""
        y_hat, likelihoods = self.entropy_bottleneck(self.g_a(x))
        return {"x_hat": self.g_s(y_hat), "likelihoods": {"y": likelihoods}}


def peer_step(width: int) -> Callable[[Tensor], None]:
    """One step of CompressAI's example training loop."""
    model, criterion = Peer(width), RateDistortionLoss(lmbda=LMBDA / COMPRESSAI_FACTOR)
    optimizers = net_aux_optimizer(model, {"net": {"type": "Adam", "lr": 1e-4}, "aux": {"type": "Adam", "lr": 1e-3}})

    def step(x: Tensor) -> None:
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        criterion(model(x), x)["loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers["net"].step()
        model.aux_loss().backward()
        optimizers["aux"].step()

    return step


def our_step(width: int) -> Callable[[Tensor], None]:
    """Our side of `peer_step`."""
    return training_step(CompressiveAutoencoder(width, LMBDA))


def training_step(codec: LearnedCodec) -> Callable[[Tensor], None]:
    """One step as `tasks/rate_distortion.py` takes it, over all operating points of a codec."""
    codec.to(memory_format=codec.memory_format)  # pyright: ignore[reportCallIssue]
    network = [p for n, p in codec.named_parameters() if not n.endswith("quantiles")]
    quantiles = [p for n, p in codec.named_parameters() if n.endswith("quantiles")]
    optimizer = torch.optim.Adam([{"params": network, "lr": 1e-4}, {"params": quantiles, "lr": 1e-3}], fused=True)

    def step(x: Tensor) -> None:
        x = x.contiguous(memory_format=codec.memory_format)
        with parametrize.cached():
            losses = [rate_distortion(codec(x, p), x, p.lmbda or 0.0).loss for p in codec.operating_points]
            loss = torch.stack(losses).sum() + codec.auxiliary_loss()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network, 1.0)
        optimizer.step()

    return step


def convolutions(width: int) -> Callable[[Tensor], None]:
    """Forward and backward pass of the convolutions alone: what neither side can do without."""
    peer = Peer(width)
    layers = nn.Sequential(*(m for m in [*peer.g_a, *peer.g_s] if not isinstance(m, GDN)))

    def step(x: Tensor) -> None:
        layers(x).sum().backward()

    return step


def with_weights_of(peer: Peer, width: int) -> CompressiveAutoencoder:
    """Our codec with the weights of a peer; both are made ready to code, with latents about as a trained model's."""
    codec = CompressiveAutoencoder(width, LMBDA)
    with torch.no_grad():
        last: nn.Conv2d = peer.g_a[4]  # pyright: ignore[reportAssignmentType]
        last.weight.mul_(30)  # latents spread over several symbols
    codec.entropy_y.load_state_dict(peer.entropy_bottleneck.state_dict())
    for i in range(3):
        codec.g_a.convs[i].load_state_dict(peer.g_a[2 * i].state_dict())
        codec.g_s.deconvs[i].load_state_dict(peer.g_s[2 * i + 1].state_dict())
    peer.eval().update(force=True, update_quantiles=True)
    codec.eval().requires_grad_(False).to(memory_format=codec.memory_format)  # pyright: ignore[reportCallIssue]
    codec.update_tables()
    return codec


Timed = Callable[[Tensor], None]


def coders(width: int, keep: Timed = lambda x_hat: None) -> tuple[Timed, Timed, Timed]:
    """Compress + decompress of the peer, of ours, and ours without entropy coding. Both sides share all weights.

    `keep` is called with what the first two reconstruct.
    """
    peer = Peer(width)
    codec = with_weights_of(peer, width)
    point = codec.operating_points[0]

    @torch.no_grad()
    def theirs(x: Tensor) -> None:
        y = peer.g_a(x)
        y_hat = peer.entropy_bottleneck.decompress(peer.entropy_bottleneck.compress(y), y.shape[-2:])
        keep(peer.g_s(y_hat).clamp_(0, 1))

    def ours(x: Tensor) -> None:
        encoded = codec.compress(x, point)
        keep(codec.decompress(encoded, point))

    @torch.no_grad()
    def transforms(x: Tensor) -> None:
        codec.synthesis(codec.analysis(codec.pad(x), point), point)

    return theirs, ours, transforms


def main(width: int, *, batch: int, crop: int, size: str, rounds: int, threads: int | None) -> None:
    """Print both comparisons as medians and ratios of the same round, and what bounds them."""
    (height, breadth), used = parse_size(size), counted(set_threads_and_seed(threads), "thread")
    print(f"width {width}, {used}, torch {torch.__version__}, medians of {rounds} rounds")
    crops = torch.rand(batch, 3, crop, crop)
    times = alternate(rounds, crops, peer_step(width), our_step(width), convolutions(width))
    _print(f"training step, {batch} crops of {crop}", "convolutions alone", times)
    times = alternate(rounds, torch.rand(1, 3, height, breadth), *coders(width))
    _print(f"compress + decompress, {size}", "our transforms alone", times)


def _print(title: str, bound: str, times: list[list[float]]) -> None:
    theirs, ours, floor = (1e3 * statistics.median(series) for series in times)
    ratios = [b / a for a, b in zip(times[0], times[1], strict=True)]
    print(f"{title}: CompressAI {theirs:.1f} ms, ours {ours:.1f} ms, ratio {statistics.median(ratios):.3f}", end=" ")
    print(f"({min(ratios):.3f} to {max(ratios):.3f}); {bound} {floor:.1f} ms, {floor / ours:.0%} of ours")
