"""Slimmable compressive autoencoder (SlimCAE): one set of weights, every width (thesis chapter 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.narrowing import SlimmableCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.layers.convolution import conv, deconv, store_kernels
from nic_lightning.layers.gdn import to_storage
from nic_lightning.layers.slimmable import SlimmableConv, SlimmableDeconv, slimmable_gdn


class SlimmableAutoencoder(SlimmableCodec):
    """A compressive autoencoder whose first w channels of every layer are an autoencoder, too, for each of `widths`.

        x ─ conv 9/4 ─ GDN_w ─ conv 5/2 ─ GDN_w ─ conv 5/2 ─ GDN_w ─ y ─ Q ─ y_hat ─┐       every layer: w channels,
                                                                     └─ EB_w ─ bits │       the first w of its kernel
        x_hat ─ deconv 9/4 ─ IGDN_w ─ deconv 5/2 ─ IGDN_w ─ deconv 5/2 ─ IGDN_w ────┘

    Thesis sections 3.3 and 3.4. A width is an operating point: it lowers rate, memory and computation together. `gdn`
    is "switch" (SwitchGDN, what the released code trains), "slim" (SlimGDN) or "slim+" (SlimGDN+): 4,229,619, 4,002,819
    and 4,002,939 parameters at the default widths. Every width has its own entropy model.

    `lambdas` is one number for all widths (naive training) or one a width, narrowest first (eq. 3.3). They are part of
    the state: `LambdaScheduling` changes them while it trains. At the start widths are trained for the same lambda, so
    until then operating points need not have different rates.
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 72, 96, 144, 192),
        lambdas: float | Sequence[float] = 4000.0,
        gdn: str = "slim+",
        kernel_param: str = "direct",
    ):
        super().__init__(widths, lambdas, gdn=gdn, kernel_param=kernel_param)
        w, gdns = self.widths[-1], slimmable_gdn(gdn)
        self.g_a = nn.ModuleList(
            conv(c, w, k, s, bias, kind=SlimmableConv)
            for c, k, s, bias in ((3, 9, 4, True), (w, 5, 2, True), (w, 5, 2, False))
        )
        self.g_a_gdns = nn.ModuleList(gdns(self.widths) for _ in range(3))
        self.g_s_gdns = nn.ModuleList(gdns(self.widths, inverse=True) for _ in range(3))
        self.g_s = nn.ModuleList(
            deconv(w, out, k, s, kind=SlimmableDeconv) for out, k, s in ((w, 5, 2), (w, 5, 2), (3, 9, 4))
        )
        self.entropy_y = nn.ModuleList(EntropyBottleneck(width) for width in self.widths)
        store_kernels(self, kernel_param)

    def standalone(self, point: OperatingPoint) -> tuple[LearnedCodec, OperatingPoint]:
        """The point's width as an autoencoder that is not slimmable; equal but for the rounding of GDN's storage."""
        width = self.widths[point.index]
        with torch.random.fork_rng(devices=[]):
            alone = CompressiveAutoencoder(width, point.lmbda or 1.0)
        like = next(self.parameters())
        alone = alone.to(like.device, like.dtype)
        for theirs, layer in zip([*alone.g_a.convs, *alone.g_s.deconvs], [*self.g_a, *self.g_s], strict=True):
            theirs.load_state_dict(
                {
                    k: getattr(layer, k).detach()[tuple(slice(n) for n in v.shape)]
                    for k, v in theirs.state_dict().items()
                }
            )
        for theirs, gdn in zip([*alone.g_a.gdns, *alone.g_s.gdns], [*self.g_a_gdns, *self.g_s_gdns], strict=True):
            gamma, beta = (to_storage(v.detach()) for v in gdn.block(width, point.index))  # pyright: ignore[reportCallIssue]
            theirs.load_state_dict({"gamma": gamma, "beta": beta})
        alone.entropy_y.load_state_dict(self.entropy_y[point.index].state_dict())
        return alone.train(self.training), alone.operating_points[0]

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, w, H/16, W/16) of padded images at the point's width w."""
        for layer, gdn in zip(self.g_a, self.g_a_gdns, strict=True):
            x = gdn(layer(x, point.width), point.index)
        return x

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents of the point's width."""
        for layer, gdn, channels in zip(self.g_s, self.g_s_gdns, (point.width, point.width, 3), strict=True):
            y_hat = layer(gdn(y_hat, point.index), channels)
        return y_hat

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods under the width's entropy model."""
        y_hat, likelihood = self.entropy_y[point.index](y)
        return y_hat, {"y": likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string."""
        string, y_hat = self.entropy_y[point.index].encode(y)  # pyright: ignore[reportCallIssue]
        return [string], {"y": y_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the one string."""
        self.expect_strings(strings, 1)
        return {"y": self.entropy_y[point.index].decode(strings[0], size)}  # pyright: ignore[reportCallIssue]
