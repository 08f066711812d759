"""What classic still-image codecs share: a ladder of settings, and files that are checked before they are decoded."""

from __future__ import annotations

import importlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from nic_lightning.codecs.base import Encoded, OperatingPoint
from nic_lightning.codecs.coding import ImageCoding
from nic_lightning.errors import BitstreamError, DataError, UserError

QUALITIES = tuple(range(5, 100, 5))
"""The ladder of CompressAI's benchmark."""
MAX_PIXELS = 2**26
"""Larger pictures are neither written nor decoded: the header of a hostile file may claim any size."""
MAX_BYTES = 2**28
UNKNOWN = OperatingPoint(index=-1, label="unknown")
"""Point of a file whose setting is not known."""
Pixels = np.ndarray[Any, Any]
"""One picture, (H, W, 3) RGB, uint8."""
Chroma = Literal["4:2:0", "4:4:4"]


class MissingCodec(UserError):
    """A package or program that a classic codec needs is not installed."""


class StillImageCodec(ImageCoding, ABC):
    """A classic codec, one operating point for each setting; its packed file is the format's own file.

    A subclass says how one picture is written (`_encode`), what size a file claims to be, once it has the shape of one
    (`_size`), and how it is decoded (`_decode`).

    Args:
        qualities: settings, values of `OperatingPoint.quality`: a larger one takes more bits.
    """

    name: str
    max_side: ClassVar[int]
    """Pixels of the longest side that the format can hold."""
    bounds: ClassVar[tuple[float, float]] = (0, 100)
    """What settings there are."""
    settings: ClassVar[str] = "qualities"
    """What users call them."""
    whole_settings: ClassVar[bool] = True
    """Whether the encoder takes whole numbers only."""

    def __init__(self, qualities: Sequence[float] = QUALITIES) -> None:
        self.qualities = sorted(qualities)
        kind, (low, high) = type(self).__name__, self.bounds
        if not self.qualities or len({self._label(q) for q in self.qualities}) < len(self.qualities):
            raise UserError(f"{kind} needs distinct {self.settings}, not {list(qualities)}.")
        if not low <= self.qualities[0] <= self.qualities[-1] <= high:
            raise UserError(f"{kind} {self.settings} lie in {low:g}..{high:g}, not {list(qualities)}.")
        if self.whole_settings and (broken := [q for q in self.qualities if q != round(q)]):
            raise UserError(f"{kind} {self.settings} are whole numbers, not {broken[0]:g}: its encoder rounds them.")
        for first, second in itertools.pairwise(self.qualities):
            if self._step(first) == self._step(second):
                raise UserError(
                    f"{kind} writes one file for {self._label(first)} and {self._label(second)}: give one of them."
                )

    @property
    def operating_points(self) -> list[OperatingPoint]:
        """From the lowest rate to the highest, labelled "q5", "q10", ..."""
        return [OperatingPoint(i, self._label(q), quality=float(q)) for i, q in enumerate(self.qualities)]

    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        """Encode images (N, 3, H, W) in [0, 1], rounded to 8 bits; one string, the file, for each.

        Raises:
            DataError: the picture is larger than the format or MAX_PIXELS allows.
        """
        if point.quality is None:
            raise UserError(f"{self.name} needs an operating point with a quality, not {point.label!r}.")
        height, width = x.shape[-2:]
        self.require_size(height, width)
        files = tuple(self._encode(picture, point.quality) for picture in _pixels(x))
        return Encoded(strings=(files,), shape=(height, width))

    def require_size(self, height: int, width: int) -> None:
        """Raise DataError for a picture that no file may hold."""
        if max(height, width) > self.max_side or height * width > MAX_PIXELS:
            raise DataError(f"A picture of {width}x{height} pixels is too large for {self.name}.")

    def decompress(self, encoded: Encoded, point: OperatingPoint) -> Tensor:
        """Decode to float RGB in [0, 1]; the point is not needed, the file says it all.

        Raises:
            BitstreamError: a file is cut or damaged.
        """
        images = [torch.from_numpy(self._decoded(data, encoded.shape)) for data in encoded.strings[0]]
        return torch.stack(images).permute(0, 3, 1, 2).float().div(255)

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        """The file of a single image."""
        (files,) = encoded.strings
        if len(files) != 1:
            raise UserError(f"A file holds one image, not {len(files)}.")
        return files[0]

    def unpack(self, data: bytes) -> tuple[Encoded, OperatingPoint]:
        """A file as its encoded form, and its setting if that is known.

        Only the header is read; a picture that is damaged further in is refused by `decompress`.

        Raises:
            BitstreamError: no file of this format, cut, animated, or of too large a size.
        """
        shape = self._checked_size(data)
        return Encoded(strings=((data,),), shape=shape), self._point_of(data)

    def _checked_size(self, data: bytes) -> tuple[int, int]:
        if len(data) > MAX_BYTES:
            raise BitstreamError(f"A {self.name} file of {len(data):,} bytes is more than this codec reads.")
        try:
            height, width = self._size(data)
        except UserError:
            raise
        # Decoders raise many kinds of errors for damaged data.
        except Exception as error:
            raise BitstreamError(f"This is not a readable {self.name} file.") from error
        if not 0 < height * width <= MAX_PIXELS:
            size = f"{width}x{height}"
            raise BitstreamError(f"The {self.name} file claims {size} pixels, which this codec does not decode.")
        return height, width

    def _decoded(self, data: bytes, shape: tuple[int, int]) -> Pixels:
        claimed = self._checked_size(data)
        try:
            pixels = self._decode(data)
        except UserError:
            raise
        except Exception as error:
            raise BitstreamError(f"The {self.name} file is cut or damaged.") from error
        if pixels.shape != (*claimed, 3) or claimed != shape:
            raise BitstreamError(f"The {self.name} file holds a picture of another size than it claims.")
        return pixels

    def _not_whole(self) -> BitstreamError:
        return BitstreamError(f"This is not a whole {self.name} file: cut, altered or of another format.")

    def _label(self, quality: float) -> str:
        return f"q{quality:g}"

    def _step(self, quality: float) -> float:
        """What the encoder makes of a setting; settings of one step give the same file."""
        return quality

    def _point_of(self, data: bytes) -> OperatingPoint:
        return UNKNOWN

    @abstractmethod
    def _encode(self, picture: Pixels, quality: float) -> bytes: ...

    @abstractmethod
    def _size(self, data: bytes) -> tuple[int, int]:
        """Height and width that a whole file claims, without decoding; any error says that it is none."""

    @abstractmethod
    def _decode(self, data: bytes) -> Pixels: ...


def need(module: str, package: str, codec: str, extra: str = "baselines") -> ModuleType:
    """Import an optional package; raises MissingCodec with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        command = f"pip install 'nic_lightning[{extra}]'"
        raise MissingCodec(f"{codec} needs the package {package}, which is not installed: {command}.") from None


def checked_chroma(chroma: str, codec: str) -> str:
    """The sampling of the chroma planes; raises UserError unless it is 4:2:0 or 4:4:4."""
    if chroma not in ("4:2:0", "4:4:4"):
        raise UserError(f"{codec} subsampling is '4:2:0' or '4:4:4', not {chroma!r}.")
    return chroma


def is_whole_box_file(data: bytes, brands: tuple[bytes, ...]) -> bool:
    """Whether the boxes of an ISO base media file (ISO/IEC 14496-12, 4.2) end where the file does, a brand first."""
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if size < 8:  # extended and open-ended sizes are not written for still images
            return False
        place += size
    return place == len(data) and data[4:8] == b"ftyp" and data[8:12] in brands


def _pixels(x: Tensor) -> list[Pixels]:
    rounded = x.detach().clamp(0, 1).mul(255).round().byte()
    return list(np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy()))
