"""Bases of codecs of several widths: a narrower codec is a slice of a wider one, and shares its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from nic_lightning import bitstream
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.width_lambdas import WidthLambdas
from nic_lightning.errors import BitstreamError, UserError


class NarrowableCodec(WidthLambdas):
    """A codec whose tensors hold those of narrower codecs as prefixes, for each of `widths`.

    In every tensor of its state, levels and channels alike have to be prefixes, so that `narrowed` is a slice of each.

    Args:
        widths: positive whole numbers, rising.
        lambdas: weight of the distortion at every width, or one for all.
        arguments: the other arguments of the method's constructor, which a narrowed codec is made with.
    """

    def __init__(self, widths: Sequence[int], lambdas: float | Sequence[float], **arguments: Any):
        super().__init__(widths, lambdas)
        self._arguments = arguments

    def narrowed(self, width: int) -> Self:
        """The codec of the widths up to `width` alone: a copy of their slices, equal at every point it has.

        Equal to the bit where kernels are stored as taps, to rounding where as Fourier coefficients. It reads the files
        that the whole codec wrote at these widths, and the other way round. Raises UserError for another width.
        """
        if width not in self.widths:
            raise UserError(f"The codec has no width {width}; it has {', '.join(map(str, self.widths))}.")
        return self._part(self.widths.index(width))

    def plain_arguments(self) -> dict[str, Any]:
        """Arguments that make a codec of this one's shape, with the lambdas it has now; plain values, for configs."""
        return self._arguments_up_to(len(self.widths) - 1)

    def config_of(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """The target of the whole, with arguments of this one."""
        return {"_target_": whole["_target_"], **self.plain_arguments()}

    def _part(self, level: int, **arguments: Any) -> Self:
        with torch.random.fork_rng(devices=[]):
            codec = type(self)(**self._arguments_up_to(level) | arguments)
        codec.load_state_dict({k: v.clone() for k, v in self._slices(level, codec).items()}, assign=True)
        return codec.train(self.training)

    def _arguments_up_to(self, level: int) -> dict[str, Any]:
        """Arguments of a codec that ends at `level`; a method that has further lists of widths cuts them here."""
        lambdas = [p.lmbda for p in self._points[: level + 1]]
        return {"widths": list(self.widths[: level + 1]), "lambdas": lambdas, **self._arguments}

    def _slices(self, level: int, outline: nn.Module) -> dict[str, Tensor]:
        """What the widths up to a level use of every tensor."""
        own = self.state_dict(keep_vars=True)
        # CDF tables have any size; a new codec's are empty.
        whole = {k for k in own if k.startswith("entropy_") and k.rpartition(".")[2].startswith("_")}
        shapes = {k: own[k].shape if k in whole else v.shape for k, v in outline.state_dict().items()}
        return {k: own[k].detach()[tuple(slice(n) for n in shape)] for k, shape in shapes.items()}


class SlimmableCodec(NarrowableCodec):
    """A codec of which the first channels of every layer are a codec, too: encoder and decoder are as narrow.

    Its files carry the fingerprint of their own width's slices, and so fit every codec that holds these.
    """

    def __init__(self, widths: Sequence[int], lambdas: float | Sequence[float], **arguments: Any):
        super().__init__(widths, lambdas, **arguments)
        self._file_fingerprints: dict[int, tuple[bytes, bytes]] = {}

    def standalone(self, point: OperatingPoint) -> tuple[LearnedCodec, OperatingPoint]:
        """`narrowed` to the point's width."""
        alone = self.narrowed(self.widths[point.index])
        return alone, alone.operating_points[-1]

    def file_fingerprint(self, point: OperatingPoint) -> bytes:
        """That of `narrowed(width)`, so that files do not show how wide the codec is beyond their own width."""
        whole, level = self.fingerprint(), point.index
        if self._file_fingerprints.get(level, (b"",))[0] != whole:
            with torch.device("meta"):
                outline = type(self)(**self._arguments_up_to(level))
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
