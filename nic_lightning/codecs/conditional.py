"""Conditional autoencoder (cAE): scale and bias by lambda, and mixed bin widths (Choi et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv, deconv, store_kernels
from nic_lightning.layers.gdn import GDN
from nic_lightning.layers.modulation import ConditionalAffine


class ConditionalAutoencoder(LearnedCodec):
    """Two rate levers: lambda (coarse, a one-hot condition) and the quantisation bin width (fine).

        x ─ cconv 9/4 ─ GDN ─ cconv 5/2 ─ GDN ─ cconv 5/2 ─ GDN ─ y ─ Q_Δ ─ y_hat ── g_s (mirrored) ─ x_hat
                                                                  └─ EB_λ,Δ ─ bits
        cconv: softplus(u_λ) · (W * x) + v_λ per channel

    arXiv 1909.04802, on the thesis' base autoencoder (9/5/5). In training, each pass draws one bin width 2^b, b uniform
    in [-bin_range, bin_range], and adds uniform noise of that width; `bin_range: 0` trains with bin width 1 alone. At
    test time every combination of a lambda and one of `steps` is a point; the operating points are those of step 1.
    Rounding replaces the universal quantisation of the paper: a dither shared by both sides costs distortion.
    The density of a lambda is shared by its bin widths: a bin's mass is the difference of the cumulative at its edges.
    """

    def __init__(
        self,
        width: int = 192,
        lambdas: Sequence[float] = (64, 128, 256, 512, 1024, 2048, 4096),
        bin_range: float = 1.0,
        steps: Sequence[float] = (0.5, 0.7, 1.0, 1.4, 2.0),
        kernel_param: str = "direct",
    ):
        super().__init__()
        self.lambdas, self.bin_range = [float(v) for v in lambdas], float(bin_range)
        rising = sorted({v for v in self.lambdas if v > 0}) == self.lambdas
        distinct = len({float(s) for s in steps if s > 0}) == len(steps)
        if not rising or not distinct or 1.0 not in steps or not 1 <= len(self.lambdas) * len(steps) <= 254:
            raise UserError(
                "codec.lambdas must be positive and rise, codec.steps must be positive, differ and hold 1.0, and both "
                "together give at most 254 points."
            )
        ladder = [(1.0, v) for v in self.lambdas] + [(s, v) for s in sorted(steps) if s != 1.0 for v in self.lambdas]
        self._points = tuple(
            OperatingPoint(i, f"{v:g}" if s == 1.0 else f"{v:g}/step{s:g}", lmbda=v, step=float(s))
            for i, (s, v) in enumerate(ladder)
        )
        w, levels = width, len(self.lambdas)
        self.g_a = nn.ModuleList(
            [conv(3, w, 9, 4, bias=False), conv(w, w, 5, 2, bias=False), conv(w, w, 5, 2, bias=False)]
        )
        self.g_a_gdns = nn.ModuleList(GDN(w) for _ in range(3))
        self.g_a_affines = nn.ModuleList(ConditionalAffine(w, levels) for _ in range(3))
        self.g_s_gdns = nn.ModuleList(GDN(w, inverse=True) for _ in range(3))
        self.g_s = nn.ModuleList(
            [deconv(w, w, 5, 2, bias=False), deconv(w, w, 5, 2, bias=False), deconv(w, 3, 9, 4, bias=False)]
        )
        self.g_s_affines = nn.ModuleList([ConditionalAffine(c, levels) for c in (w, w, 3)])
        self.entropy_y = nn.ModuleList(EntropyBottleneck(w, steps=tuple(steps)) for _ in self.lambdas)
        store_kernels(self, kernel_param)

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """One point a lambda, bin width 1."""
        return self._points[: len(self.lambdas)]

    @property
    def candidate_points(self) -> Sequence[OperatingPoint]:
        """Every lambda with every bin width."""
        return self._points

    def _level(self, point: OperatingPoint) -> int:
        return point.index % len(self.lambdas)

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents of padded images at the point's lambda."""
        for layer, affine, gdn in zip(self.g_a, self.g_a_affines, self.g_a_gdns, strict=True):
            x = gdn(affine(layer(x), self._level(point)))
        return x

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents made at the point's lambda."""
        for gdn, layer, affine in zip(self.g_s_gdns, self.g_s, self.g_s_affines, strict=True):
            y_hat = affine(layer(gdn(y_hat)), self._level(point))
        return y_hat

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods; in training with a bin width drawn for this call."""
        step = point.step or 1.0
        if self.training:
            step = 2.0 ** ((2 * torch.rand(()).item() - 1) * self.bin_range)
        y_hat, likelihood = self.entropy_y[self._level(point)](y, training=self.training, step=step)
        return y_hat, {"y": likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string."""
        string, y_hat = self._bottleneck(point).encode(y, point.step or 1.0)
        return [string], {"y": y_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the one string."""
        self.expect_strings(strings, 1)
        return {"y": self._bottleneck(point).decode(strings[0], size, point.step or 1.0)}

    def _bottleneck(self, point: OperatingPoint) -> EntropyBottleneck:
        return self.entropy_y[self._level(point)]  # pyright: ignore[reportReturnType]
