"""Slimmable autoencoder with a slimmable scale hyperprior (thesis section 3.5.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.narrowing import SlimmableCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv, deconv, store_kernels
from nic_lightning.layers.precision import in_float64, without_autocast
from nic_lightning.layers.slimmable import (
    ConditionalConv,
    SlimmableConv,
    SlimmableDeconv,
    rising_widths,
    slimmable_gdn,
)

SLOPE = 0.2
"""Of LeakyReLU below 0: TensorFlow's default; the thesis gives none."""


class SlimmableHyperprior(SlimmableCodec):
    """Latents coded as zero-mean Gaussians whose scales travel as side information, at every width.

        x ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─┬─ y ─ Q ─ y_hat ── g_s (mirrored) ─ x_hat
                                                                         │      └─ Gaussian(scales) ─ bits
        z ─ conv 5/2 ─ LReLU ─ conv 5/2 ─ LReLU ─ conv 3/1 ─ |·| ────────┘
        └─ Q ─ z_hat ─ deconv 5/2 ─ LReLU ─ deconv 5/2 ─ LReLU ─ conv 3/1 ─ scales      w channels; v from h_a to h_s

    Thesis section 3.5.6 and its footnotes: autoencoder widths w, hyper-autoencoder widths v of three layers with leaky
    ReLUs, conditional convolutions. What they leave open, and what is taken here:

    - the autoencoder has four 5x5 convolutions of stride 2, kernels and strides of h_a are those of Ballé et al. 2018;
    - every convolution is conditional, and its condition is the width: a scale and a bias a channel, one row a width
      (Choi et al. 2019, eq. 8); the released code of the thesis has none;
    - scales only, zero means, as in Ballé et al. 2018; `slimmable_context` has means, too;
    - z has one factorised entropy model a width (they switch); one set of Gaussian tables serves all;
    - GDN is SlimGDN+ unless `gdn` says "switch" or "slim"; LeakyReLU has slope 0.2.

    28,117,014 parameters at the default widths, entropy models left out. Sender and receiver must derive the same
    scales: h_s runs in float64 on the CPU when bits are made or read (see `codecs/hyperprior.py`).
    """

    downsampling = 64
    hyper_outputs = 1
    """Channels of h_s for each of the latents."""

    def __init__(
        self,
        widths: Sequence[int] = (96, 144, 192, 288, 384),
        hyper_widths: Sequence[int] = (48, 72, 96, 144, 192),
        lambdas: float | Sequence[float] = 4000.0,
        gdn: str = "slim+",
        kernel_param: str = "direct",
    ):
        super().__init__(widths, lambdas, gdn=gdn, kernel_param=kernel_param)
        self.hyper_widths = rising_widths(hyper_widths, "codec.hyper_widths")
        if len(self.hyper_widths) != len(self.widths):
            raise UserError(f"codec.hyper_widths is {list(hyper_widths)}; give one for each of {list(widths)}.")
        w, v, levels, gdns = self.widths[-1], self.hyper_widths[-1], len(self.widths), slimmable_gdn(gdn)
        self.g_a = nn.ModuleList(_conv(c, w, 5, 2, levels) for c in (3, w, w, w))
        self.g_a_gdns = nn.ModuleList(gdns(self.widths) for _ in range(3))
        self.g_s = nn.ModuleList(_deconv(w, c, 5, 2, levels) for c in (w, w, w, 3))
        self.g_s_gdns = nn.ModuleList(gdns(self.widths, inverse=True) for _ in range(3))
        self.h_a = nn.ModuleList([_conv(w, v, 3, 1, levels), *(_conv(v, v, 5, 2, levels) for _ in range(2))])
        self.h_s = _HyperSynthesis(v, self.hyper_outputs * w, levels)
        self.entropy_z = nn.ModuleList(EntropyBottleneck(n) for n in self.hyper_widths)
        self.entropy_y = GaussianConditional()  # pyright: ignore[reportAttributeAccessIssue]
        store_kernels(self, kernel_param)

    def _arguments_up_to(self, level: int) -> dict[str, Any]:
        return {**super()._arguments_up_to(level), "hyper_widths": list(self.hyper_widths[: level + 1])}

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, w, H/16, W/16) of padded images at the point's width w."""
        for i, layer in enumerate(self.g_a):
            x = layer(x, point.index, point.width)
            x = self.g_a_gdns[i](x, point.index) if i < 3 else x
        return x

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents of the point's width."""
        for i, layer in enumerate(self.g_s):
            y_hat = layer(y_hat, point.index, point.width if i < 3 else 3)
            y_hat = self.g_s_gdns[i](y_hat, point.index) if i < 3 else y_hat
        return y_hat

    def hyper_analysis(self, y: Tensor, point: OperatingPoint) -> Tensor:
        """Side information z (N, v, H/64, W/64) of latents."""
        z = self.hyper_input(y)
        for i, layer in enumerate(self.h_a):
            z = layer(z, point.index, self.hyper_widths[point.index])
            z = F.leaky_relu(z, SLOPE) if i < 2 else z
        return z

    def hyper_input(self, y: Tensor) -> Tensor:
        """What h_a sees of latents."""
        return y.abs()

    def hyper_synthesis(self, z_hat: Tensor, point: OperatingPoint) -> Tensor:
        """What h_s makes of the side information, (N, hyper_outputs * w, H/16, W/16), in float32."""
        with without_autocast(z_hat.device.type):
            return self.h_s(z_hat, point.index, self._hyper_channels(point))

    def exact_hyper_synthesis(self, z_hat: Tensor, point: OperatingPoint) -> Tensor:
        """`hyper_synthesis` in float64 on the CPU: what sender and receiver have to agree on."""
        return in_float64(self.h_s, z_hat, point.index, self._hyper_channels(point))

    def _hyper_channels(self, point: OperatingPoint) -> tuple[int, int]:
        return self.hyper_widths[point.index], self.hyper_outputs * self.widths[point.index]

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents, likelihoods of y and z."""
        z_hat, z_likelihood = self.entropy_z[point.index](self.hyper_analysis(y, point))
        y_hat, y_likelihood = self.entropy_y(y, self.hyper_synthesis(z_hat, point))
        return y_hat, {"y": y_likelihood, "z": z_likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y."""
        z_string, z_hat = self._bottleneck(point).encode(self.hyper_analysis(y, point))
        y_string, y_hat = self.entropy_y.encode(y, self.exact_hyper_synthesis(z_hat, point))  # pyright: ignore[reportCallIssue]
        return [z_string, y_string], {"y": y_hat, "z": z_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        z_hat = self._bottleneck(point).decode(strings[0], (size[0] // 4, size[1] // 4))
        y_hat = self.entropy_y.decode(strings[1], self.exact_hyper_synthesis(z_hat, point))  # pyright: ignore[reportCallIssue]
        return {"y": y_hat, "z": z_hat}

    def _bottleneck(self, point: OperatingPoint) -> EntropyBottleneck:
        return self.entropy_z[point.index]  # pyright: ignore[reportReturnType]


class _HyperSynthesis(nn.Module):
    """h_s: (N, v, h, w) -> (N, channels, 4h, 4w)."""

    def __init__(self, v: int, channels: int, levels: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [_deconv(v, v, 5, 2, levels), _deconv(v, v, 5, 2, levels), _conv(v, channels, 3, 1, levels)]
        )

    def forward(self, z_hat: Tensor, level: int, channels: tuple[int, int]) -> Tensor:
        """Features of side information; `channels` are those inside and those of the result."""
        inside, result = channels
        for layer in list(self.layers)[:2]:
            z_hat = F.leaky_relu(layer(z_hat, level, inside), SLOPE)
        return self.layers[2](z_hat, level, result)


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int, levels: int) -> ConditionalConv:
    return ConditionalConv(conv(channels_in, channels_out, kernel, stride, bias=False, kind=SlimmableConv), levels)


def _deconv(channels_in: int, channels_out: int, kernel: int, stride: int, levels: int) -> ConditionalConv:
    return ConditionalConv(deconv(channels_in, channels_out, kernel, stride, bias=False, kind=SlimmableDeconv), levels)
