"""JPEG, WebP, JPEG 2000 and AVIF by Pillow, behind the codec protocol. The packed file is the format's file itself."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from PIL import Image, features

from nic_lightning.baselines.still import (
    QUALITIES,
    UNKNOWN,
    Chroma,
    MissingCodec,
    Pixels,
    StillImageCodec,
    checked_chroma,
    is_whole_box_file,
)
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.errors import BitstreamError, UserError


class PillowCodec(StillImageCodec):
    """A still-image format of Pillow."""

    format: ClassVar[str]
    feature: ClassVar[str]
    """What Pillow calls the library behind it."""

    def __init__(self, qualities: Sequence[float] = QUALITIES) -> None:
        super().__init__(qualities)
        if not features.check(self.feature):
            raise MissingCodec(f"This Pillow is built without {self.feature}, which {self.name} needs; pip's has it.")

    def _encode(self, picture: Pixels, quality: float) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format=self.format, **self._options(quality))
        return buffer.getvalue()

    def _size(self, data: bytes) -> tuple[int, int]:
        if not self._is_whole(data):
            raise self._not_whole()
        with self._open(data) as image:
            return image.height, image.width

    def _decode(self, data: bytes) -> Pixels:
        with self._open(data) as image:
            return np.array(image.convert("RGB"))

    def _open(self, data: bytes) -> Image.Image:
        """Header of a file, refused unless it is one picture of this format."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=[self.format])
        if image.format != self.format or getattr(image, "n_frames", 1) != 1:
            raise BitstreamError(f"This {self.name} file holds more than one picture.")
        return image

    def _options(self, quality: float) -> dict[str, Any]:
        return {"quality": round(quality)}

    def _is_whole(self, data: bytes) -> bool:
        raise NotImplementedError


class Jpeg(PillowCodec):
    """Baseline JPEG by libjpeg(-turbo) as Pillow ships it, standard Huffman tables.

    Args:
        qualities: quality settings, 0..100.
        subsampling: of the chroma planes: "4:2:0" as in published JPEG curves, or "4:4:4".
        optimize: make Huffman tables for each picture; at 256 x 256 pixels and low rates that halves files.
    """

    name = "jpeg"
    format = "JPEG"
    feature = "jpg"
    max_side = 65_500

    def __init__(
        self, qualities: Sequence[int] = QUALITIES, subsampling: Chroma = "4:2:0", optimize: bool = False
    ) -> None:
        super().__init__(qualities)
        self.subsampling, self.optimize = checked_chroma(subsampling, "JPEG"), optimize
        self.name += ("_444" if subsampling != "4:2:0" else "") + ("_optimized" if optimize else "")

    def _options(self, quality: float) -> dict[str, Any]:
        return {"quality": round(quality), "subsampling": self.subsampling, "optimize": self.optimize}

    def _step(self, quality: float) -> float:
        return max(1, quality)  # libjpeg takes 0 for 1

    def _is_whole(self, data: bytes) -> bool:
        return data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9"

    def _point_of(self, data: bytes) -> OperatingPoint:
        return self._points_by_tables.get(self._table_key(data), UNKNOWN)

    @cached_property
    def _points_by_tables(self) -> dict[tuple[Any, ...], OperatingPoint]:
        """Each quality's quantisation tables, which a file carries in its header."""
        sample = np.zeros((8, 8, 3), np.uint8)
        return {self._table_key(self._encode(sample, p.quality or 0)): p for p in self.operating_points}

    def _table_key(self, data: bytes) -> tuple[Any, ...]:
        with self._open(data) as image:
            tables: dict[int, Any] = getattr(image, "quantization", {})
        return tuple((k, tuple(v)) for k, v in sorted(tables.items()))


class WebP(PillowCodec):
    """Lossy WebP by libwebp as Pillow ships it; a file does not state its quality.

    Args:
        qualities: quality settings, 0..100.
        method: effort, 0, fastest, to 6; 4 is libwebp's default and that of published curves. 6 takes 2.9 % less rate
            at equal PSNR (BD-rate, six images of Kodak), and is called webp_best.
    """

    name = "webp"
    format = "WEBP"
    feature = "webp"
    max_side = 16_383

    def __init__(self, qualities: Sequence[int] = QUALITIES, method: int = 4) -> None:
        super().__init__(qualities)
        if method not in range(7):
            raise UserError(f"WebP method is a whole number from 0 to 6, not {method!r}.")
        self.method = method
        if method == 6:
            self.name = "webp_best"

    def _options(self, quality: float) -> dict[str, Any]:
        return {"quality": round(quality), "method": self.method}

    def _is_whole(self, data: bytes) -> bool:
        if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
            return False
        return int.from_bytes(data[4:8], "little") + 8 == len(data)


class Jpeg2000(PillowCodec):
    """JPEG 2000 by OpenJPEG as Pillow ships it: irreversible transforms of colour and wavelet, one layer, no boxes.

    Without the colour transform, which Pillow leaves out unless asked for, the same rate has 4.5 dB less on Kodak.

    Args:
        rates: bits per pixel that the encoder aims at from below; the values of `OperatingPoint.quality`.
    """

    name = "jpeg2000"
    format = "JPEG2000"
    feature = "jpg_2000"
    max_side = 2**26
    bounds = (0.01, 24)
    settings = "rates"
    whole_settings = False

    def __init__(self, rates: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 1, 1.5)) -> None:
        super().__init__(rates)

    def _label(self, quality: float) -> str:
        return f"r{quality:g}"

    def _options(self, quality: float) -> dict[str, Any]:
        ratio = {"quality_mode": "rates", "quality_layers": [24 / quality]}
        return {"mct": 1, "irreversible": True, "no_jp2": True, **ratio}

    def _size(self, data: bytes) -> tuple[int, int]:
        """From the main header (ISO/IEC 15444-1, annex A), which has to be one that bounds a decoder's memory.

        That is one tile of three 8-bit components, precincts of the default size, and one tile-part.
        """
        fields: dict[int, bytes] = {}
        place = 2
        while (marker := _big(data[place : place + 2])) in (_SIZ, _COD, _QCD, _COM):
            length = _big(data[place + 2 : place + 4])
            fields[marker] = data[place + 4 : place + 2 + max(2, length)]
            place += 2 + max(2, length)
        tile, size, coding = data[place:], fields.get(_SIZ, b""), fields.get(_COD, b"\1")
        width, height = _big(size[2:6]), _big(size[6:10])
        whole = data[:2] == b"\xff\x4f" and data[-2:] == b"\xff\xd9" and _big(tile[6:10]) + 2 == len(tile)
        # Offset of the image, size and offset of the tile, then of each component its depth and its steps.
        plain = bytes(8) + size[2:10] + bytes(8) + b"\0\3" + b"\7\1\1" * 3
        single = tile[:6] == b"\xff\x90\0\x0a\0\0" and tile[10:14] == b"\0\1\xff\x93"
        if not (whole and single and size[10:] == plain and coding[0] & 1 == 0):
            raise self._not_whole()
        return height, width


class Avif(PillowCodec):
    """AVIF, that is AV1 intra, by libavif and libaom as Pillow ships them, one thread, one tile.

    libavif itself decodes no more than 2**28 pixels, whatever a file claims. By default it cuts a picture into tiles
    for threads that are not there, and each tile costs bits; libaom's files differ with the number of threads, so that
    is always one (findings/avif_threads.sh).

    Args:
        qualities: quality settings, 0..100; libavif makes 64 quantisers of them (findings/avif_heif_qualities.sh).
        subsampling: of the chroma planes: "4:2:0" or "4:4:4".
        speed: 0, slowest and best, to 10.
        tune: what the encoder optimises: "psnr", "ssim" or "iq", the default of libavif for photographs.
    """

    name = "avif"
    format = "AVIF"
    feature = "avif"
    max_side = 32_768

    def __init__(
        self,
        qualities: Sequence[int] = (10, 20, 30, 40, 50, 60),
        subsampling: Chroma = "4:2:0",
        speed: int = 6,
        tune: str = "psnr",
    ) -> None:
        super().__init__(qualities)
        if not 0 <= speed <= 10:
            raise UserError(f"AVIF speed is a number from 0 to 10, not {speed!r}.")
        if tune not in ("psnr", "ssim", "iq"):
            raise UserError(f"AVIF tune is 'psnr', 'ssim' or 'iq', not {tune!r}.")
        self.subsampling, self.speed, self.tune = checked_chroma(subsampling, "AVIF"), speed, tune
        if subsampling != "4:2:0":
            self.name = "avif_444"

    def _options(self, quality: float) -> dict[str, Any]:
        how = {"codec": "aom", "speed": self.speed, "max_threads": 1, "autotiling": False}
        return {
            "quality": round(quality),
            "subsampling": self.subsampling,
            "advanced": {"tune": self.tune},
            **how,
        }

    def _step(self, quality: float) -> float:
        return -(((100 - round(quality)) * 63 + 50) // 100)  # libavif's quantisers, 0 the finest

    def _is_whole(self, data: bytes) -> bool:
        return is_whole_box_file(data, (b"avif",))


_SIZ, _COD, _QCD, _COM = 0xFF51, 0xFF52, 0xFF5C, 0xFF64


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")
