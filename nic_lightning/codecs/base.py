"""What every codec has: operating points, a differentiable forward pass, and real bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from nic_lightning.bitstream import VERSION
from nic_lightning.errors import UserError


@dataclass(frozen=True)
class OperatingPoint:
    """One setting of a codec's rate lever.

    `index` is its place in `codec.operating_points`, which run from the lowest rate to the highest; `label` names it in
    tables, file headers and command lines. A continuous point (a lambda between two trained ones) has index -1.
    """

    index: int
    label: str
    lmbda: float | None = None
    """Weight of the distortion: `loss = lmbda * MSE([0, 1] images) + bits per pixel`."""
    width: int | None = None
    """Channels of every layer, where known: of slimmable codecs, and of the models that they are compared with."""
    mode: str | None = None
    """Task of a multi-task codec, such as "autoencode" or "translate"."""
    quality: float | None = None
    """Quality setting of a classic codec."""
    step: float | None = None
    """Quantisation bin width of the latents, where a codec has that second lever (Choi et al. 2019)."""


def single_point(lmbda: float | None, label: str | None, width: int | None = None) -> OperatingPoint:
    """The point of a codec that has one: named after its lambda where no label is given.

    Raises UserError without either; weights from elsewhere may be of an unknown lambda, and then have a label.
    """
    if lmbda is None and label is None:
        raise UserError("codec.lmbda is null; give a number, or codec.label for weights of an unknown lambda.")
    lmbda = None if lmbda is None else float(lmbda)
    return OperatingPoint(0, label if label is not None else f"{lmbda:g}", lmbda=lmbda, width=width)


@dataclass
class CodecOutput:
    """What a forward pass gives. Shapes: x_hat (N, 3, H, W); y, y_hat (N, C, h, w).

    Of codecs that do not give back their input, x_hat is what they give instead, such as log probabilities (N, K).
    """

    x_hat: Tensor
    likelihoods: dict[str, Tensor]
    """Probability of each quantised symbol, by latent name ("y", "z"); bits = -sum(log2)."""
    y: Tensor
    y_hat: Tensor
    """Latents as the synthesis transform sees them: with noise in training, rounded in evaluation."""


@dataclass(frozen=True)
class Encoded:
    """Entropy-coded latents of a batch: `strings[latent][image]`, and the true (H, W) of images; (0, 0) of clouds."""

    strings: tuple[tuple[bytes, ...], ...]
    shape: tuple[int, int]
    latents: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """Quantised latents, kept on the sender's side only, so that an evaluation can assert the receiver's are equal."""
    version: int = VERSION
    """File format that the strings are of: what is decoded, is decoded as it was written."""


@runtime_checkable
class ImageCodec(Protocol):
    """Learned and classic codecs alike. Images are float32 RGB in [0, 1], shape (N, 3, H, W), any H and W.

    Codecs of other media take and give back what these have: see `media/base.py`.
    """

    @property
    def name(self) -> str:
        """What tables and figures call the codec."""
        ...

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """From the lowest rate to the highest."""
        ...

    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        """Entropy-code a batch of images."""
        ...

    def decompress(self, encoded: Encoded, point: OperatingPoint) -> Any:
        """Images (N, 3, H, W) in [0, 1], cropped to `encoded.shape`; of other media what their codecs give back."""
        ...

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        """The bytes of one image's file, header included."""
        ...

    def unpack(self, data: bytes) -> tuple[Encoded, OperatingPoint]:
        """Inverse of `pack`; raises `BitstreamError` for anything that `pack` did not write."""
        ...
