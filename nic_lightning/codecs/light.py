"""Light codec: any lambda in one model, built for machines without a GPU; a design of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import CodecOutput, OperatingPoint
from nic_lightning.codecs.variable_rate import LambdaLadder
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.entropy.model import to_int32
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv
from nic_lightning.layers.depthwise import SLOPE, DepthwiseBlock
from nic_lightning.layers.modulation import ModulationNet
from nic_lightning.layers.precision import in_float64

_GAIN = 8.0
"""Latents of an untrained analysis are this many times as large as its features: else all are rounded to 0."""
_MEAN_GRID = 2.0**8
"""Means are multiples of 1/256: last digits, in which machines differ, do not enter the latents."""
_LARGEST = 2.0**30


class LightHyperprior(LambdaLadder):
    """Mean-scale hyperprior with two-step context, most of its work at an eighth of the resolution.

        x ─ unshuffle 8 ─ 1/1 ─ blocks ─ ×m1(λ) ─ 3/2 ─ blocks ─ 1/1 ─ ×m2(λ) ─ y ─ Q ─ y_hat ─┐
        x_hat ─ shuffle 8 ─ 1/1 ─ blocks ─ d2(λ)× ─ shuffle 2 ─ 1/1 ─ blocks ─ 1/1 ─ d1(λ)× ───┘
        y ─ 3/1 ─ LReLU ─ 5/2 ─ LReLU ─ 5/2 ─ ×m3(λ) ─ z ─ Q ─ z_hat ─ d3(λ)× ─ h_s ─ features f
        f ─ 1/1 ─ scales of all latents;   f ─ 1/1 ─ means of the first half;   f, y_hat of the first half ─ blocks ─
        means of the second half

    Parts and where they come from: pixel-unshuffled input and depthwise blocks at 1/8, as fast codecs of 2024 to 2026
    have them (DCVC-RT, Jia et al. 2025); factors m(λ), d(λ) as in the modulated autoencoder (Yang et al. 2020), whose
    networks take log lambda; means and scales (Minnen et al. 2018); the two halves are a checkerboard (He et al. 2021)
    whose colours are exchanged in the second half of the channels, so that every position has something of both.

    **Scales follow from z alone.** They choose the tables, so all symbols are coded in one call, and only h_s has to
    come out equal on every machine: it runs in float64 on the CPU. Means are used after decoding: a machine that adds
    up in another order finds the same symbols.

    In training each lambda takes its share of the crops of a batch, in one pass (`training_outputs`), at a lambda drawn
    from between its neighbours. One entropy model serves z at every lambda.

    Args:
        width: channels at 1/8 of the resolution.
        deep: channels at 1/16.
        latents: channels of y.
        hyper: channels of h_a and h_s; z has two thirds of them.
        blocks: depthwise blocks of g_a at 1/8 and at 1/16, then of g_s at 1/16 and at 1/8.
        context: "means" as above, or "none": all means follow from z.
        lambdas: rising.
        hidden: units of each modulating network.
    """

    downsampling = 64

    def __init__(
        self,
        width: int = 128,
        deep: int = 192,
        latents: int = 192,
        hyper: int = 96,
        blocks: Sequence[int] = (3, 2, 2, 4),
        context: str = "means",
        lambdas: Sequence[float] = (32, 64, 128, 256, 512, 1024, 2048, 4096),
        hidden: int = 50,
    ):
        super().__init__(lambdas)
        if context not in ("none", "means"):
            raise UserError(f"codec.context is {context!r}; it can be means or none.")
        if len(blocks) != 4 or min(blocks) < 0:
            raise UserError(f"codec.blocks is {list(blocks)}; give four numbers of blocks, such as [3, 2, 2, 4].")
        net = partial(ModulationNet, lambda_max=self.lambdas[-1], hidden=hidden, log_from=self.lambdas[0])
        fine, coarse, back_coarse, back_fine = blocks
        side = max(1, 2 * hyper // 3)
        self.g_a = nn.ModuleDict(
            {
                "fine": nn.Sequential(nn.PixelUnshuffle(8), conv(192, width, 1), *_blocks(width, fine)),
                "coarse": nn.Sequential(conv(width, deep, 3, 2), *_blocks(deep, coarse), conv(deep, latents, 1)),
            }
        )
        self.g_s = nn.ModuleDict(
            {
                "coarse": nn.Sequential(
                    conv(latents, deep, 1), *_blocks(deep, back_coarse), conv(deep, 4 * width, 1), nn.PixelShuffle(2)
                ),
                "fine": nn.Sequential(*_blocks(width, back_fine), conv(width, 192, 1), nn.PixelShuffle(8)),
            }
        )
        self.h_a = nn.ModuleList([conv(latents, hyper, 3), conv(hyper, hyper, 5, 2), conv(hyper, side, 5, 2)])
        self.h_s = _HyperSynthesis(side, hyper, latents, net(side))
        self.first_means = conv(hyper, latents, 1)
        self.second_means = (
            nn.Sequential(conv(hyper + latents, deep, 1), *_blocks(deep, 2), conv(deep, latents, 1))
            if context == "means"
            else None
        )
        self.modulation = nn.ModuleDict({"fine": net(width), "latents": net(latents), "side": net(side)})
        self.demodulation = nn.ModuleDict({"fine": net(width), "latents": net(latents)})
        self.entropy_z = EntropyBottleneck(side)
        self.entropy_y = GaussianConditional()  # pyright: ignore[reportAttributeAccessIssue]

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, latents, H/16, W/16) of padded images."""
        return self._analyse(x, point.lmbda)

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents."""
        return self._synthesise(y_hat, point.lmbda)

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Quantised latents, likelihoods of y and z; while training, those of noisy latents."""
        return self._likelihoods(y, point.lmbda)

    def training_outputs(self, x: Tensor) -> Iterator[tuple[OperatingPoint, Tensor, CodecOutput]]:
        """Each lambda with its share of the crops (N, 3, H, W), all in one pass; N is a multiple of their number.

        Where it is not, every lambda takes all crops.
        """
        count = len(self.operating_points)
        if len(x) % count:
            yield from super().training_outputs(x)
            return
        lambdas = self._draw(x.device)
        output = self._pass(x, lambdas.repeat_interleave(len(x) // count))
        parts = (output.x_hat, output.y, output.y_hat, *output.likelihoods.values())
        shares = zip(*(part.chunk(count) for part in parts), strict=True)
        for point, lmbda, crops, (x_hat, y, y_hat, *likelihoods) in zip(
            self.operating_points, lambdas.tolist(), x.chunk(count), shares, strict=True
        ):
            drawn = OperatingPoint(point.index, point.label, lmbda=lmbda)
            yield drawn, crops, CodecOutput(x_hat, dict(zip(output.likelihoods, likelihoods, strict=True)), y, y_hat)

    def _draw(self, device: torch.device) -> Tensor:
        """A lambda for each operating point, log-uniform from halfway to one neighbour to halfway to the other."""
        logs = torch.tensor(self.lambdas, dtype=torch.float64).log()
        edges = torch.cat([logs[:1], (logs[1:] + logs[:-1]) / 2, logs[-1:]])
        place = torch.rand(len(logs), dtype=torch.float64)
        return (edges[:-1] + place * (edges[1:] - edges[:-1])).exp().to(device)

    def _pass(self, x: Tensor, lmbda: float | Tensor) -> CodecOutput:
        y = self._analyse(self.pad(x), lmbda)
        y_hat, likelihoods = self._likelihoods(y, lmbda)
        return CodecOutput(self._synthesise(y_hat, lmbda)[..., : x.shape[-2], : x.shape[-1]], likelihoods, y, y_hat)

    def _analyse(self, x: Tensor, lmbda: float | Tensor | None) -> Tensor:
        fine = self.g_a["fine"](x - 0.5) * self.modulation["fine"](lmbda)
        return self.g_a["coarse"](fine) * (_GAIN * self.modulation["latents"](lmbda))

    def _synthesise(self, y_hat: Tensor, lmbda: float | Tensor | None) -> Tensor:
        fine = self.g_s["coarse"](y_hat * (self.demodulation["latents"](lmbda) / _GAIN))
        return self.g_s["fine"](fine * self.demodulation["fine"](lmbda)) + 0.5

    def hyper_analysis(self, y: Tensor, lmbda: float | Tensor | None) -> Tensor:
        """Side information z (N, 2/3 hyper, H/64, W/64) of latents."""
        first, second, last = self.h_a
        z = F.leaky_relu(second(F.leaky_relu(first(y), SLOPE)), SLOPE)
        return last(z) * self.modulation["side"](lmbda)

    def _likelihoods(self, y: Tensor, lmbda: float | Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        z_hat, z_likelihood = self.entropy_z(self.hyper_analysis(y, lmbda), training=self.training)
        features, scales = self._side(z_hat, lmbda)
        y = y.float()

        def quantise(means: Tensor) -> Tensor:
            rounded = self._quantise(y, means)
            # The synthesis sees what it will see later, rounded latents; gradients pass as if nothing were rounded.
            return y + (rounded - y).detach() if self.training else rounded

        y_hat, means = self._in_halves(features, quantise)
        coded = y + torch.empty_like(y).uniform_(-0.5, 0.5) if self.training else y_hat
        likelihood = self.entropy_y.likelihood(coded, scales.to(coded), means)  # pyright: ignore[reportCallIssue]
        return y_hat, {"y": likelihood, "z": z_likelihood}

    def _side(self, z_hat: Tensor, lmbda: float | Tensor | None) -> tuple[Tensor, Tensor]:
        """Features and scales of latents; but in training by float64, on the CPU, as sender and receiver have them."""
        if self.training:
            return self.h_s(self._laid_out(z_hat), lmbda)
        return in_float64(self.h_s, z_hat, lmbda)  # pyright: ignore[reportReturnType]

    def _in_halves(self, features: Tensor, latents_given: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Quantised latents and their means, both (N, latents, h, w): the second half's means follow from the first.

        `latents_given(means)` is what the latents are quantised to, or decoded to, around these means.
        """
        means = self._means(self.first_means, features)
        if self.second_means is not None:
            first = first_half(means)
            known = latents_given(means) * first
            second = self._means(self.second_means, self._laid_out(torch.cat([features, known.to(features)], 1)))
            means = torch.where(first, means, second)
        return latents_given(means), means

    def _means(self, net: nn.Module, x: Tensor) -> Tensor:
        """Means on their grid, on the codec's device; by float64 where x, on the CPU, has it.

        Float32 adds up to another multiple of 1/256 here and there on another machine, and the second half's network
        makes eleven of one.
        """
        exact = x.dtype == torch.float64
        means = in_float64(net, x) if exact else net(x).float()
        if exact or not self.training:
            # Latents that no image has, from a hostile file, can overflow.
            means = torch.round(means.nan_to_num(0).clamp(-_LARGEST, _LARGEST) * _MEAN_GRID) / _MEAN_GRID
        return means.float().to(next(net.parameters()).device)

    def _laid_out(self, x: Tensor) -> Tensor:
        """In one layout on both sides: another one adds up in another order."""
        return x.contiguous(memory_format=self.memory_format)

    def _quantise(self, y: Tensor, means: Tensor) -> Tensor:
        return self.entropy_y.quantise(y, means) + means  # pyright: ignore[reportCallIssue]

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y."""
        z_string, z_hat = self.entropy_z.encode(self.hyper_analysis(y, point.lmbda))
        features, scales = in_float64(self.h_s, z_hat, point.lmbda)
        y_hat, means = self._in_halves(features, partial(self._quantise, y))
        symbols = self.entropy_y.quantise(y, means)  # pyright: ignore[reportCallIssue]
        rows = self.entropy_y.rows(scales)  # pyright: ignore[reportCallIssue]
        return [z_string, self.entropy_y.tables.encode(to_int32(symbols), rows)], {"y": y_hat, "z": z_hat}  # pyright: ignore

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        z_hat = self.entropy_z.decode(strings[0], (size[0] // 4, size[1] // 4))
        features, scales = in_float64(self.h_s, z_hat, point.lmbda)
        symbols = self.entropy_y.decode(strings[1], scales)  # pyright: ignore[reportCallIssue]
        y_hat, _ = self._in_halves(features, lambda means: symbols + means)
        return {"y": y_hat, "z": z_hat}


class _HyperSynthesis(nn.Module):
    """h_s: features (N, hyper, 4h, 4w) and scales (N, latents, 4h, 4w) of the latents from z_hat (N, side, h, w)."""

    def __init__(self, side: int, hyper: int, latents: int, demodulation: ModulationNet):
        super().__init__()
        self.demodulation = demodulation
        self.layers = nn.ModuleList([conv(side, 4 * hyper, 1), conv(hyper, 4 * hyper, 1), conv(hyper, hyper, 3)])
        self.scales = conv(hyper, 2 * latents, 1)

    def forward(self, z_hat: Tensor, lmbda: float | Tensor) -> tuple[Tensor, Tensor]:
        first, second, last = self.layers
        f = F.relu(F.pixel_shuffle(first(z_hat * self.demodulation(lmbda)), 2))
        f = F.relu(F.pixel_shuffle(second(f), 2))
        f = F.relu(last(f))
        # A latent of the second half is known better than one of the first: each has a scale of its own.
        of_first, of_second = (F.softplus(s) + GaussianConditional.SCALE_MIN for s in self.scales(f).chunk(2, 1))
        return f, torch.where(first_half(of_first), of_first, of_second)


def first_half(latents: Tensor) -> Tensor:
    """Which latents (N, C, h, w) are decoded first, (1, C, h, w): a checkerboard, exchanged for the last C/2."""
    _, c, h, w = latents.shape
    channel, i, j = (torch.arange(k, device=latents.device) for k in (c, h, w))
    return ((channel[:, None, None] >= (c + 1) // 2) + i[:, None] + j)[None] % 2 == 0


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [DepthwiseBlock(channels) for _ in range(count)]
