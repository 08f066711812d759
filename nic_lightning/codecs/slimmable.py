"""Slimmable compressive autoencoder (SlimCAE): one set of weights, every width (thesis chapter 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nic_lightning import bitstream
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.cae import CompressiveAutoencoder
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.width_lambdas import WidthLambdas
from nic_lightning.entropy.models import EntropyBottleneck
from nic_lightning.errors import BitstreamError, UserError
from nic_lightning.layers.convolution import conv, deconv, store_kernels
from nic_lightning.layers.gdn import to_storage
from nic_lightning.layers.slimmable import SLIMMABLE_GDN, SlimmableConv, SlimmableDeconv


class SlimmableAutoencoder(WidthLambdas):
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
        super().__init__(widths, lambdas)
        if gdn not in SLIMMABLE_GDN:
            raise UserError(f"codec.gdn is {gdn!r}; it can be {', '.join(SLIMMABLE_GDN)}.")
        w, gdns = self.widths[-1], SLIMMABLE_GDN[gdn]
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
        self._arguments = {"gdn": gdn, "kernel_param": kernel_param}
        self._file_fingerprints: dict[int, tuple[bytes, bytes]] = {}

    def narrowed(self, width: int) -> SlimmableAutoencoder:
        """The codec of the widths up to `width` alone: a copy of their slices, equal at every point it has.

        Equal to the bit where kernels are stored as taps, to rounding where as Fourier coefficients. It reads the files
        that the whole codec wrote at these widths, and the other way round. Raises UserError for another width.
        """
        if width not in self.widths:
            raise UserError(f"The codec has no width {width}; it has {', '.join(map(str, self.widths))}.")
        level = self.widths.index(width)
        with torch.random.fork_rng(devices=[]):
            codec = self._like(level)
        codec.load_state_dict({k: v.clone() for k, v in self._slices(level, codec).items()}, assign=True)
        return codec.train(self.training)

    def standalone(self, point: OperatingPoint) -> tuple[LearnedCodec, OperatingPoint]:
        """The point's width as an autoencoder that is not slimmable; equal but for the rounding of GDN's storage."""
        width = self.widths[point.index]
        with torch.random.fork_rng(devices=[]):
            alone = CompressiveAutoencoder(width, point.lmbda or 1.0).to(self.g_a[0].weight)
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

    def _like(self, level: int) -> SlimmableAutoencoder:
        lambdas = [p.lmbda or 0.0 for p in self._points[: level + 1]]
        return SlimmableAutoencoder(self.widths[: level + 1], lambdas, **self._arguments)

    def _slices(self, level: int, outline: nn.Module) -> dict[str, Tensor]:
        """What the widths up to a level use of every tensor: levels and channels alike are prefixes."""
        own = self.state_dict(keep_vars=True)
        tables = tuple(f"entropy_y.{i}._" for i in range(level + 1))  # of any size; a new codec's are empty
        shapes = {k: own[k].shape if k.startswith(tables) else v.shape for k, v in outline.state_dict().items()}
        return {k: own[k].detach()[tuple(slice(n) for n in shape)] for k, shape in shapes.items()}

    def file_fingerprint(self, point: OperatingPoint) -> bytes:
        """That of `narrowed(width)`, so that files do not tell how wide the codec is beyond their own width."""
        whole, level = self.fingerprint(), point.index
        if self._file_fingerprints.get(level, (b"",))[0] != whole:
            with torch.device("meta"):
                outline = self._like(level)
            self._file_fingerprints[level] = (whole, self._hash(self._slices(level, outline)))
        return self._file_fingerprints[level][1]

    def require_own(self, content: bitstream.Container) -> None:
        """Raise BitstreamError for a file that was not made by this codec, or at a width that it does not have."""
        if len(content.point) == 1 and content.point[0] < len(self.widths):
            self.require_fingerprint(content, self.file_fingerprint(self._points[content.point[0]]))
        else:
            raise BitstreamError(
                f"The file was made by another model, or at a width above this one's, which ends at {self.widths[-1]}."
            )

    def point_to_bytes(self, point: OperatingPoint) -> bytes:
        """The width's index, also where there is only one: files of a narrowed codec are those of the whole one."""
        return bytes([point.index])

    def point_from_bytes(self, data: bytes) -> OperatingPoint:
        """Inverse of `point_to_bytes`."""
        if len(data) != 1 or data[0] >= len(self.widths):
            raise BitstreamError("The file names an operating point that this codec does not have.")
        return self._points[data[0]]

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
