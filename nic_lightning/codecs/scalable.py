"""Scalable compressive autoencoder: one file, of which every prefix of layers is a file (thesis section 3.5.5)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from nic_lightning import bitstream
from nic_lightning.codecs.base import CodecOutput, Encoded, OperatingPoint
from nic_lightning.codecs.cae import AnalysisTransform, SynthesisTransform
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.narrowing import NarrowableCodec
from nic_lightning.codecs.receiver import LAYERS, Decoded, Decoding
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import BitstreamError, UserError, counted
from nic_lightning.layers.convolution import deconv, store_kernels
from nic_lightning.layers.gdn import to_storage
from nic_lightning.layers.slimmable import SlimmableDeconv, slimmable_gdn


class ScalableAutoencoder(NarrowableCodec):
    """An image is encoded once; a base layer and enhancement layers follow one another in its file.

        x ─ g_a ─ y ─┬─ group 0 ─ Q, EB_0 ─ string 0 ─┐           g_a: at the widest width, for every point
                     ├─ group 1 ─ Q, EB_1 ─ string 1 ─┤
                     └─   ...                         │           group i: channels widths[i-1] to widths[i] of y
        x_hat_k ─ deconv 9/4 ─ IGDN ─ ... ─ IGDN ─ groups 0..k    slimmable, at widths[k]

    Point k, "layers{k + 1}", sends groups 0 to k; `width` is the decoder's. A decoder that has more strings than it
    wants leaves the later ones alone, and `bitstream.truncate` drops them without a model. The narrow encoder of
    `SlimmableAutoencoder` cannot be had at the same time: its latents are no prefix of the wide one's. So only the
    decoder's memory and computation fall with the number of layers.

    Each group has an entropy model of its own (46 parameters a channel, 8,832 in all at width 192). `gdn` is as in
    `SlimmableAutoencoder`: "slim+", the default, makes 4,002,879 parameters. The thesis describes the idea and shows
    curves, but neither training nor layers; the loss here is sum_k lambda_k D_k + R_0 + ... + R_k.

    `narrowed` keeps the first groups' entropy models, the decoder's slices and the encoder, which has no narrower one;
    `half_of("receiver")` leaves that out, too. Both read the first layers of the whole codec's files.

    Args:
        widths: channels of the decoder with 1, 2, ... layers.
        lambdas: weight of the distortion at every number of layers, or one for all.
        gdn: of the decoder.
        kernel_param: "direct" or "rdft".
        encoder_width: channels of g_a, the widest of `widths` by default; 0 for a receiver, which has none.
        whole: fingerprint, in hex, of the codec that this one is a part of and shares files with.
    """

    receiver_options = LAYERS

    def __init__(
        self,
        widths: Sequence[int] = (48, 72, 96, 144, 192),
        lambdas: float | Sequence[float] = 4000.0,
        gdn: str = "slim+",
        kernel_param: str = "direct",
        encoder_width: int | None = None,
        whole: str | None = None,
    ):
        super().__init__(widths, lambdas, gdn=gdn, kernel_param=kernel_param)
        self._whole = _fingerprint_of(whole)
        w, gdns = self.widths[-1], slimmable_gdn(gdn)
        self.groups = tuple(b - a for a, b in pairwise((0, *self.widths)))
        self.encoder_width = w if encoder_width is None else encoder_width
        if 0 != self.encoder_width < w:
            raise UserError(f"codec.encoder_width is {encoder_width}; give at least the widest of codec.widths, or 0.")
        self.g_a = AnalysisTransform(self.encoder_width) if self.encoder_width else None
        self.g_s_gdns = nn.ModuleList(gdns(self.widths, inverse=True) for _ in range(3))
        self.g_s = nn.ModuleList(
            deconv(w, out, k, s, kind=SlimmableDeconv) for out, k, s in ((w, 5, 2), (w, 5, 2), (3, 9, 4))
        )
        self.entropy_y = nn.ModuleList(EntropyBottleneck(channels) for channels in self.groups)
        store_kernels(self, kernel_param)

    def label(self, level: int) -> str:
        """Name of an operating point: how many layers it has."""
        return f"layers{level + 1}"

    def outputs(self, x: Tensor) -> Iterator[CodecOutput]:
        """`forward` at every operating point, with one pass of the encoder for all of them."""
        y = self.analysis(self.pad(x), self._points[-1])
        for point in self._points:
            yield self.output(x, y[:, : point.width], point)

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, w, H/16, W/16) of padded images: the first w channels of the widest width's."""
        if self.g_a is None:
            raise UserError(
                "This receiver of a scalable codec has no encoder: compress with the codec that it is a part of."
            )
        return self.g_a(x)[:, : point.width]

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of the point's groups of latents."""
        for layer, gdn, channels in zip(self.g_s, self.g_s_gdns, (point.width, point.width, 3), strict=True):
            y_hat = layer(gdn(y_hat, point.index), channels)
        return y_hat

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods, each group's under its own entropy model."""
        parts = [model(group) for model, group in self._models_and_groups(y, point)]
        y_hat, likelihood = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        return y_hat.contiguous(memory_format=self.memory_format), {"y": likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string a group, the base layer first."""
        coded = [model.encode(group) for model, group in self._models_and_groups(y, point)]
        return [string for string, _ in coded], {"y": torch.cat([y_hat for _, y_hat in coded], dim=1)}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the point's groups."""
        self.expect_strings(strings, point.index + 1)
        models = self.entropy_y[: point.index + 1]
        groups = [model.decode(string, size) for model, string in zip(models, strings, strict=True)]  # pyright: ignore[reportCallIssue]
        return {"y": torch.cat(groups, dim=1)}

    @torch.no_grad()
    def refinements(self, encoded: Encoded, point: OperatingPoint) -> Iterator[Tensor]:
        """What `decompress` gives of one layer, of two and so on up to the point's; each string is decoded once."""
        latents = self.decode_latents(encoded, point)["y"]
        for layer in self._points[: point.index + 1]:
            yield self.images(latents[:, : layer.width], layer, encoded.shape)

    def decoding(self, *, layers: int | None = None, progressive: bool = False, **wishes: Any) -> Decoding:
        """Files' first `layers`, where given; with `progressive` an image for each layer. See `LearnedCodec`."""
        self.require_options(wishes)

        def of(data: bytes) -> Decoded:
            encoded, point = self.unpack(data if layers is None else bitstream.truncate(data, layers))
            if not progressive:
                return Decoded(((),), iter([self.decompress(encoded, point)]))
            return Decoded(
                tuple((self.label(level),) for level in range(point.index + 1)), self.refinements(encoded, point)
            )

        return Decoding((self.label(0),) if progressive else (), of)

    def _models_and_groups(self, y: Tensor, point: OperatingPoint) -> Iterator[tuple[EntropyBottleneck, Tensor]]:
        return zip(self.entropy_y, y.split(self.groups[: point.index + 1], dim=1), strict=False)  # pyright: ignore[reportReturnType]

    def point_to_bytes(self, point: OperatingPoint) -> bytes:
        """The number of layers, as `bitstream.truncate` reads it."""
        return bitstream.layered_point(point.index + 1)

    def point_from_bytes(self, data: bytes) -> OperatingPoint:
        """Inverse of `point_to_bytes`."""
        count = bitstream.point_layers(data)
        if count is None or count == 0:
            raise BitstreamError("The file names an operating point that this codec does not have.")
        if count > len(self._points):
            raise BitstreamError(
                f"The file has {counted(count, 'layer')} and this codec decodes {len(self._points)}: give --layers "
                f"{len(self._points)}, or shorten it by nic truncate."
            )
        return self._points[count - 1]

    def fingerprint(self) -> bytes:
        """That of the whole codec, also of its parts: all layers are in one file."""
        return self._whole or super().fingerprint()

    def half_of(self, side: str) -> Self:
        """A copy without encoder, for side "receiver"; UserError for another."""
        if side != "receiver":
            raise UserError("A scalable codec has no sender's half; its receiver's is what has fewer layers.")
        return self._part(len(self.widths) - 1, encoder_width=0)

    def _arguments_up_to(self, level: int) -> dict[str, Any]:
        part = {"encoder_width": self.encoder_width, "whole": self.fingerprint().hex()}
        return super()._arguments_up_to(level) | part

    def standalone(self, point: OperatingPoint) -> tuple[LearnedCodec, OperatingPoint]:
        """The whole encoder, and a decoder of the point's layers that is not slimmable."""
        level, width, weight = point.index, self.widths[point.index], next(self.g_s.parameters())
        with torch.random.fork_rng(devices=[]):
            alone = _Prefix(self.widths[: level + 1], [p.lmbda or 1.0 for p in self._points[: level + 1]])
            g_s = SynthesisTransform(width).to(weight)
        for theirs, layer in zip(g_s.deconvs, self.g_s, strict=True):
            blocks = {k: tuple(slice(n) for n in v.shape) for k, v in theirs.state_dict().items()}
            theirs.load_state_dict({k: getattr(layer, k).detach()[block] for k, block in blocks.items()})
        for theirs, gdn in zip(g_s.gdns, self.g_s_gdns, strict=True):
            gamma, beta = (to_storage(v.detach()) for v in gdn.block(width, level))  # pyright: ignore[reportCallIssue]
            theirs.load_state_dict({"gamma": gamma, "beta": beta})
        alone.g_s, alone.g_s_gdns = g_s, nn.ModuleList()  # pyright: ignore[reportAttributeAccessIssue]
        alone.g_a, alone.entropy_y = copy.deepcopy(self.g_a), copy.deepcopy(self.entropy_y[: level + 1])
        return alone.to(weight.device).train(self.training), alone.operating_points[-1]


class _Prefix(ScalableAutoencoder):
    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        return self.g_s(y_hat)


def _fingerprint_of(text: str | None) -> bytes | None:
    """Bytes of a fingerprint in hex; raises UserError for another text."""
    try:
        found = None if text is None else bytes.fromhex(text)
    except (TypeError, ValueError):
        found = b""
    if found is not None and len(found) != bitstream.FINGERPRINT_BYTES:
        raise UserError(f"codec.whole is {text!r}; give a fingerprint of {2 * bitstream.FINGERPRINT_BYTES} digits.")
    return found
