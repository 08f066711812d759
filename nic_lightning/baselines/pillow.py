"""JPEG and WebP behind the codec protocol. The packed file is the JPEG or WebP file itself."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nic_lightning.codecs.base import Encoded, OperatingPoint
from nic_lightning.errors import BitstreamError, DataError, UserError

QUALITIES = tuple(range(5, 100, 5))
"""The ladder of CompressAI's benchmark."""
MAX_PIXELS = 2**26
"""Larger pictures are neither written nor decoded: the header of a hostile file may claim any size."""
MAX_BYTES = 2**28
UNKNOWN = OperatingPoint(index=-1, label="unknown")
"""Point of a file whose quality setting cannot be told."""


class PillowCodec:
    """A still-image format of Pillow, one operating point for each quality setting."""

    name: str
    format: ClassVar[str]
    max_side: ClassVar[int]

    def __init__(self, qualities: Sequence[int] = QUALITIES) -> None:
        self.qualities = sorted(int(q) for q in qualities)
        if not self.qualities or len(set(self.qualities)) < len(self.qualities):
            raise UserError(f"{type(self).__name__} needs distinct qualities, not {list(qualities)}.")
        if self.qualities[0] < 0 or self.qualities[-1] > 100:
            raise UserError(f"{type(self).__name__} qualities lie in 0..100, not {list(qualities)}.")

    @property
    def operating_points(self) -> list[OperatingPoint]:
        """From the lowest quality to the highest, labelled "q5", "q10", ..."""
        return [OperatingPoint(i, f"q{q}", quality=float(q)) for i, q in enumerate(self.qualities)]

    def compress(self, x: Tensor, point: OperatingPoint) -> Encoded:
        """Encode images (N, 3, H, W) in [0, 1], rounded to 8 bits; one string, the file, for each.

        Raises:
            DataError: the picture is larger than the format or MAX_PIXELS allows.
        """
        if point.quality is None:
            raise UserError(f"{self.name} needs an operating point with a quality, not {point.label!r}.")
        height, width = x.shape[-2:]
        if max(height, width) > self.max_side or height * width > MAX_PIXELS:
            raise DataError(f"A picture of {width}x{height} pixels is too large for {self.name}.")
        files = tuple(self._encode(image, round(point.quality)) for image in _to_pillow(x))
        return Encoded(strings=(files,), shape=(height, width))

    def decompress(self, encoded: Encoded, point: OperatingPoint) -> Tensor:
        """Decode to float RGB in [0, 1]; the point is not needed, the file says it all.

        Raises:
            BitstreamError: a file is cut or damaged.
        """
        images = [torch.from_numpy(self._decode(data)) for data in encoded.strings[0]]
        return torch.stack(images).permute(0, 3, 1, 2).float().div(255)

    def pack(self, encoded: Encoded, point: OperatingPoint) -> bytes:
        """The file of a single image."""
        (files,) = encoded.strings
        if len(files) != 1:
            raise UserError(f"A file holds one image, not {len(files)}.")
        return files[0]

    def unpack(self, data: bytes) -> tuple[Encoded, OperatingPoint]:
        """A file as its encoded form, and its quality if that can be told.

        Only the header is read; a picture that is damaged further in is refused by `decompress`.

        Raises:
            BitstreamError: no file of this format, cut, animated, or of too large a size.
        """
        if len(data) > MAX_BYTES:
            raise BitstreamError(f"A {self.name} file of {len(data):,} bytes is more than this codec reads.")
        if not self._is_whole(data):
            raise BitstreamError(f"This is not a whole {self.name} file: cut, altered or of another format.")
        with self._open(data) as image:
            shape = (image.height, image.width)
            point = self._point_of(image)
        return Encoded(strings=((data,),), shape=shape), point

    def _encode(self, image: Image.Image, quality: int) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, format=self.format, quality=quality, **self._options())
        return buffer.getvalue()

    def _decode(self, data: bytes) -> np.ndarray[Any, Any]:
        with self._open(data) as image:
            try:
                return np.array(image.convert("RGB"))
            # Pillow's decoders raise many kinds of errors for damaged data.
            except Exception as error:
                raise BitstreamError(f"The {self.name} file is cut or damaged.") from error

    def _open(self, data: bytes) -> Image.Image:
        """Header of a file, refused unless it is one picture of this format and of bounded size."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(data), formats=[self.format])
            frames = getattr(image, "n_frames", 1)
        except Exception as error:
            raise BitstreamError(f"This is not a readable {self.name} file.") from error
        if image.format != self.format or frames != 1:
            raise BitstreamError(f"This {self.name} file holds more than one picture.")
        if image.width * image.height > MAX_PIXELS:
            size = f"{image.width}x{image.height}"
            raise BitstreamError(f"The {self.name} file claims {size} pixels, more than this codec decodes.")
        return image

    def _options(self) -> dict[str, Any]:
        return {}

    def _is_whole(self, data: bytes) -> bool:
        raise NotImplementedError

    def _point_of(self, image: Image.Image) -> OperatingPoint:
        return UNKNOWN


class Jpeg(PillowCodec):
    """Baseline JPEG by libjpeg(-turbo) as Pillow ships it, standard Huffman tables.

    Args:
        qualities: quality settings, 0..100.
        subsampling: of the chroma planes: "4:2:0" as in published JPEG curves, or "4:4:4".
    """

    name = "jpeg"
    format = "JPEG"
    max_side = 65_500

    def __init__(self, qualities: Sequence[int] = QUALITIES, subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0") -> None:
        super().__init__(qualities)
        if subsampling not in ("4:2:0", "4:4:4"):
            raise UserError(f"JPEG subsampling is '4:2:0' or '4:4:4', not {subsampling!r}.")
        self.subsampling = subsampling
        if subsampling != "4:2:0":
            self.name = "jpeg_444"

    def _options(self) -> dict[str, Any]:
        return {"subsampling": self.subsampling}

    def _is_whole(self, data: bytes) -> bool:
        return data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9"

    def _point_of(self, image: Image.Image) -> OperatingPoint:
        tables = getattr(image, "quantization", {})
        return self._points_by_tables.get(_table_key(tables), UNKNOWN)

    @cached_property
    def _points_by_tables(self) -> dict[tuple[Any, ...], OperatingPoint]:
        """Each quality's quantisation tables, which a file carries in its header."""
        sample = Image.new("RGB", (8, 8))
        found = {}
        for point in self.operating_points:
            with self._open(self._encode(sample, round(point.quality or 0))) as image:
                found[_table_key(getattr(image, "quantization", {}))] = point
        return found


class WebP(PillowCodec):
    """Lossy WebP by libwebp as Pillow ships it, default effort; a file does not tell its quality.

    Args:
        qualities: quality settings, 0..100.
    """

    name = "webp"
    format = "WEBP"
    max_side = 16_383

    def _is_whole(self, data: bytes) -> bool:
        if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
            return False
        return int.from_bytes(data[4:8], "little") + 8 == len(data)


def _to_pillow(x: Tensor) -> list[Image.Image]:
    arrays = x.detach().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def _table_key(tables: dict[int, Any]) -> tuple[Any, ...]:
    return tuple((k, tuple(v)) for k, v in sorted(tables.items()))
