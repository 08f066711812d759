"""Ways to get a translated image to a receiver: the codec that does both at once, and what it is compared with.

    codec  x ─ E^c ─ file ─ G ─ output           one file for a source image, whatever the number of styles
    plain  x ─ E^c ─ G ─ output                  StarGAN v2: nothing is compressed
    CbT    x ─ codec ─ file ─ x_hat ─ E^c ─ G    compression before translation: one file for a source image, too
    CaT    x ─ E^c ─ G ─ codec ─ file ─ output   compression after translation: one file for each output

References and styles are the receiver's in all of them and never compressed; but for CaT, whose sender makes the
outputs (thesis section 4.5; Choi et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.translation import TRANSLATE, I2ICodec
from nic_lightning.errors import UserError


@dataclass(frozen=True)
class Sent:
    """What left the sender for one source image: a file, or the content itself; its bits, None where nothing counts."""

    content: Any
    bits: int | None = None


@dataclass(frozen=True)
class Received:
    """Outputs (K, 3, H, W), not clipped; and where each has a file of its own, the bits of them all."""

    images: Tensor
    bits: int | None = None


class TranslationSystem(Protocol):
    """A sender, a file and a receiver that translates. Images (1, 3, size, size) in [0, 1], styles (K, style_dim)."""

    name: str
    networks: I2ICodec
    """Whose domains, styles and sizes they are."""

    def send(self, x: Tensor) -> Sent:
        """What the source image becomes at the sender."""
        ...

    def receive(self, sent: Sent, styles: Tensor) -> Received:
        """Outputs in styles."""
        ...


class TranslationCodec:
    """A translation codec through real files, from which the receiver decodes the latents that the sender had.

    Raises UserError in `receive` where they differ.
    """

    def __init__(self, networks: I2ICodec, name: str | None = None) -> None:
        self.networks, self.name = networks, name or networks.name

    def send(self, x: Tensor) -> Sent:
        """A file."""
        encoded = self.networks.compress(x, TRANSLATE)
        data = self.networks.pack(encoded, TRANSLATE)
        decoded = self.networks.decode_latents(*self.networks.unpack(data))
        for name, latent in encoded.latents.items():
            if not torch.equal(decoded[name].to(latent.device), latent):
                raise UserError(f"{self.name}: the receiver's latents {name!r} differ from the sender's.")
        return Sent(data, 8 * len(data))

    @torch.no_grad()
    def receive(self, sent: Sent, styles: Tensor) -> Received:
        """Decoded once, rendered in each style."""
        encoded, point = self.networks.unpack(sent.content)
        y_hat = self.networks.decode_latents(encoded, point)["y"]
        images = self.networks.synthesis(y_hat.expand(len(styles), -1, -1, -1), point, styles)
        return Received(images[..., : encoded.shape[0], : encoded.shape[1]])


class Uncompressed:
    """Plain StarGAN v2: content that is neither rounded nor coded, so that there is no rate."""

    def __init__(self, networks: I2ICodec, name: str = "uncompressed") -> None:
        self.networks, self.name = networks, name

    def send(self, x: Tensor) -> Sent:
        """Content."""
        return Sent(content(self.networks, x))

    @torch.no_grad()
    def receive(self, sent: Sent, styles: Tensor) -> Received:
        """Rendered in each style."""
        return Received(render(self.networks, sent.content, styles))


class CompressThenTranslate:
    """CbT: the receiver decodes an image and translates that; all its outputs share the file of the source."""

    def __init__(self, networks: I2ICodec, codec: ImageCodec, point: OperatingPoint) -> None:
        self.networks, self.codec, self.point = networks, codec, point
        self.name = f"cbt {codec.name} {point.label}"

    def send(self, x: Tensor) -> Sent:
        """A file of the source image."""
        data = coded(self.codec, x, self.point)
        return Sent(data, 8 * len(data))

    @torch.no_grad()
    def receive(self, sent: Sent, styles: Tensor) -> Received:
        """Decoded, encoded into content, rendered in each style."""
        x_hat = decoded(self.codec, sent.content, self.point).to(styles.device)
        return Received(render(self.networks, content(self.networks, x_hat), styles))


class TranslateThenCompress:
    """CaT: the sender translates, and each 8-bit output has a file of its own."""

    def __init__(self, networks: I2ICodec, codec: ImageCodec, point: OperatingPoint) -> None:
        self.networks, self.codec, self.point = networks, codec, point
        self.name = f"cat {codec.name} {point.label}"

    def send(self, x: Tensor) -> Sent:
        """Content, which stays where it is."""
        return Sent(content(self.networks, x))

    @torch.no_grad()
    def receive(self, sent: Sent, styles: Tensor) -> Received:
        """The outputs after their files."""
        outputs = render(self.networks, sent.content, styles).clamp(0, 1)
        outputs = outputs.mul(255).round().div(255)
        files = [coded(self.codec, one, self.point) for one in outputs.split(1)]
        images = torch.cat([decoded(self.codec, data, self.point) for data in files])
        return Received(images.to(styles.device), 8 * sum(map(len, files)))


@torch.no_grad()
def content(networks: I2ICodec, x: Tensor) -> Tensor:
    """Content (N, C, h, w) of images, as the encoder gives it."""
    return networks.analysis(networks.pad(x), TRANSLATE)


def render(networks: I2ICodec, y: Tensor, styles: Tensor) -> Tensor:
    """Outputs (K, 3, size, size) of one image's content in each of K styles, not clipped."""
    images = networks.synthesis(y.expand(len(styles), -1, -1, -1), TRANSLATE, styles)
    return images[..., : networks.size, : networks.size]


def coded(codec: ImageCodec, x: Tensor, point: OperatingPoint) -> bytes:
    """File of an image (1, 3, H, W); a learned codec follows the image to its device."""
    if isinstance(codec, nn.Module):
        codec.to(x.device)
    return codec.pack(codec.compress(x, point), point)


def decoded(codec: ImageCodec, data: bytes, point: OperatingPoint) -> Tensor:
    """Image of a file; a classic file does not say its quality, nor does decoding it need to know."""
    encoded, told = codec.unpack(data)
    return codec.decompress(encoded, point if told.index < 0 else told)
