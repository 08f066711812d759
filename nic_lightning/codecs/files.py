"""A learned codec's files: one image each, tied to the codec's weights and tables by a fingerprint."""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nic_lightning import bitstream
from nic_lightning.codecs.base import Encoded, OperatingPoint
from nic_lightning.codecs.strips import MAX_WHOLE_PIXELS, goes_in_strips
from nic_lightning.errors import BitstreamError, UserError


@dataclass(frozen=True)
class State:
    """Tensors of a codec, their versions and addresses, and whether a part of it is in training mode.

    The tensors themselves are kept: a new one may lie at the address of one that is gone.
    """

    tensors: list[Tensor]
    versions: list[int]
    places: list[int]
    training: bool

    def equals(self, other: State | None) -> bool:
        """Whether nothing was changed between the two."""
        return (
            other is not None
            and (self.training, self.versions, self.places) == (other.training, other.versions, other.places)
            and all(map(operator.is_, self.tensors, other.tensors))
        )


def settled_state(*of: nn.Module) -> State | None:
    """What tells whether any tensor of some modules was changed since; None where a parameter can be trained.

    Fused optimisers change parameters without raising their version, and tensors of inference mode have none.
    """
    tensors: list[Tensor] = []
    modules: list[nn.Module | None] = [*of]
    training = False
    while modules:
        module = modules.pop()
        if module is None:
            continue
        parts = module.__dict__  # its attributes, and state_dict(), take several times as long
        modules += parts["_modules"].values()
        training |= parts["training"]
        tensors += parts["_parameters"].values()
        tensors += parts["_buffers"].values()
    tensors = [tensor for tensor in tensors if tensor is not None]
    try:
        versions = [tensor._version for tensor in tensors if not tensor.requires_grad]
    except RuntimeError:  # of inference mode
        return None
    if len(versions) < len(tensors):
        return None
    return State(tensors, versions, [tensor.data_ptr() for tensor in tensors], training)


class ImageFiles(nn.Module):
    """What `LearnedCodec` has for files; a codec that is a part of another one says which files are its own."""

    _fingerprint: tuple[State | None, bytes] = (None, b"")

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept, whose tensors a copy would hold in memory, those of networks that it drops, too."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_fingerprint", "_folded")}

    @property
    def _codec(self) -> Any:  # a `LearnedCodec`, whose file imports this one
        return self

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        """File of one image (the only one of its batch)."""
        self.require_size(*encoded.shape)
        strings = tuple(column[0] for column in encoded.strings)
        return bitstream.pack(
            bitstream.Container(self.file_fingerprint(point), self.point_to_bytes(point), *encoded.shape, strings)
        )

    def require_size(self, height: int, width: int) -> None:
        """Raise UserError for an image that no file may hold, or that does not go through the transforms in strips."""
        if height * width > bitstream.MAX_PIXELS:
            raise UserError(f"An image of {height}x{width} is too large for one .nic file: cut it into tiles.")
        if height * width > MAX_WHOLE_PIXELS and not goes_in_strips(self._codec):
            raise UserError(
                f"An image of {height}x{width} is too large for codec {self._codec.name}, every output of which "
                f"depends on the whole image: cut it into tiles of at most {MAX_WHOLE_PIXELS:,} pixels."
            )

    def unpack(self, data: bytes, max_pixels: int = bitstream.MAX_PIXELS) -> tuple[Encoded, OperatingPoint]:
        """Inverse of `pack`; raises BitstreamError for a cut, altered or foreign file."""
        content = bitstream.unpack(data, max_pixels)
        self.require_own(content)
        try:
            self.require_size(content.height, content.width)
        except UserError as error:
            raise BitstreamError(str(error)) from error
        if (
            math.prod(self._codec.padded_size(content.height, content.width))
            > 2 * max_pixels + self._codec.downsampling**2
        ):
            raise BitstreamError(
                f"The file declares an image of {content.height}x{content.width}: too thin, padding makes it too large."
            )
        point = self.point_from_bytes(content.point)
        strings = tuple((s,) for s in content.strings)
        return Encoded(strings, (content.height, content.width), version=content.version), point

    def file_fingerprint(self, point: OperatingPoint) -> bytes:
        """What ties a file made at `point` to the codecs that can decode it."""
        return self.fingerprint()

    def require_own(self, content: bitstream.Container) -> None:
        """Raise BitstreamError unless the file was made by this codec."""
        self.require_fingerprint(content, self.fingerprint())

    @staticmethod
    def require_fingerprint(content: bitstream.Container | bitstream.StreamHeader, own: bytes) -> None:
        """Raise BitstreamError unless the file carries the fingerprint `own`."""
        if content.fingerprint != own:
            raise BitstreamError(
                f"The file was made by another model ({content.fingerprint.hex()}; this one is {own.hex()}): decode it "
                "with the run or checkpoint that wrote it."
            )

    def point_to_bytes(self, point: OperatingPoint) -> bytes:
        """Operating point on the wire: nothing when there is only one, else its index in one byte."""
        return b"" if len(self._codec.candidate_points) == 1 else bytes([point.index])

    def point_from_bytes(self, data: bytes) -> OperatingPoint:
        """Inverse of `point_to_bytes`."""
        index = data[0] if data else 0
        if len(data) != (len(self._codec.candidate_points) > 1) or index >= len(self._codec.candidate_points):
            raise BitstreamError("The file names an operating point that this codec does not have.")
        return self._codec.candidate_points[index]

    def fingerprint(self) -> bytes:
        """First 8 bytes of the SHA-256 over method, weights and tables; kept while no tensor changes."""
        return self._fingerprint_of(settled_state(self))

    def _fingerprint_of(self, state: State | None) -> bytes:
        """`fingerprint` of the codec as it is now, which `state` says."""
        if state is None or not state.equals(self._fingerprint[0]):
            self._fingerprint = (state, self._hash(self.state_dict(keep_vars=True)))
        return self._fingerprint[1]

    def _hash(self, state: dict[str, Tensor]) -> bytes:
        digest = hashlib.sha256(self._codec.name.encode())
        for name, tensor in sorted(state.items()):
            array = tensor.detach().cpu().contiguous().numpy()
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data if array.size else b"")
        return digest.digest()[: bitstream.FINGERPRINT_BYTES]

    def expect_strings(self, strings: Sequence[bytes], count: int) -> None:
        """Raise BitstreamError unless the file holds `count` strings."""
        if len(strings) != count:
            raise BitstreamError(f"The file holds {len(strings)} strings; codec {self._codec.name} writes {count}.")
