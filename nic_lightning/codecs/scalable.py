"""Scalable compressive autoencoder: one file, of which every prefix of layers is a file (thesis section 3.5.5)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from nic_lightning import bitstream
from nic_lightning.codecs.base import CodecOutput, OperatingPoint
from nic_lightning.codecs.cae import AnalysisTransform, SynthesisTransform
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.width_lambdas import WidthLambdas
from nic_lightning.entropy.models import EntropyBottleneck
from nic_lightning.errors import BitstreamError
from nic_lightning.layers.convolution import deconv, store_kernels
from nic_lightning.layers.gdn import to_storage
from nic_lightning.layers.slimmable import SlimmableDeconv, slimmable_gdn


class ScalableAutoencoder(WidthLambdas):
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
    """

    def __init__(
        self,
        widths: Sequence[int] = (48, 72, 96, 144, 192),
        lambdas: float | Sequence[float] = 4000.0,
        gdn: str = "slim+",
        kernel_param: str = "direct",
    ):
        super().__init__(widths, lambdas)
        w, gdns = self.widths[-1], slimmable_gdn(gdn)
        self.groups = tuple(b - a for a, b in pairwise((0, *self.widths)))
        self.g_a = AnalysisTransform(w)
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

    def _models_and_groups(self, y: Tensor, point: OperatingPoint) -> Iterator[tuple[EntropyBottleneck, Tensor]]:
        return zip(self.entropy_y, y.split(self.groups[: point.index + 1], dim=1), strict=False)  # pyright: ignore[reportReturnType]

    def point_to_bytes(self, point: OperatingPoint) -> bytes:
        """The number of layers, as `bitstream.truncate` reads it."""
        return bitstream.layered_point(point.index + 1)

    def point_from_bytes(self, data: bytes) -> OperatingPoint:
        """Inverse of `point_to_bytes`."""
        count = bitstream.point_layers(data)
        if count is None or not 1 <= count <= len(self._points):
            raise BitstreamError("The file names an operating point that this codec does not have.")
        return self._points[count - 1]

    def standalone(self, point: OperatingPoint) -> tuple[LearnedCodec, OperatingPoint]:
        """The whole encoder, and a decoder of the point's layers that is not slimmable."""
        level, width, weight = point.index, self.widths[point.index], next(self.g_a.parameters())
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
