"""JPEG XL by libjxl, as the package pillow-jxl-plugin ships it. The packed file is the bare codestream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nic_lightning.baselines.still import Pixels, StillImageCodec, need
from nic_lightning.errors import UserError

_LOSSLESS_METADATA = "0000010001001"
"""Image metadata of lossless files, bit by bit: nothing extra, 8 bits, no extra channels, not XYB, sRGB, defaults."""
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class JpegXl(StillImageCodec):
    """JPEG XL, XYB colours, one thread. Its encoder aims at what people see, which PSNR does not show.

    Args:
        qualities: 0..100, which libjxl turns into a distance: 90 is 1, what is just noticeable; 50 is 4.6, 10 is 15.3.
            Fractions count. 100 is distance 0, lossless.
        effort: 1, fastest, to 9; 7 is libjxl's default.
    """

    name = "jpegxl"
    max_side = 2**26
    whole_settings = False

    def __init__(self, qualities: Sequence[float] = (10, 30, 50, 70, 80, 90), effort: int = 7) -> None:
        super().__init__(qualities)
        self._jxl: Any = need("pillow_jxl", "pillow-jxl-plugin", "JPEG XL")
        if not 1 <= effort <= 9:
            raise UserError(f"JPEG XL effort is a number from 1 to 9, not {effort!r}.")
        self.effort = effort

    def _encode(self, picture: Pixels, quality: float) -> bytes:
        lossless = quality == 100  # libjxl refuses distance 0 in XYB
        encoder = self._jxl.Encoder(
            mode="RGB",
            lossless=lossless,
            quality=float(quality),
            decoding_speed=0,
            effort=self.effort,
            use_container=False,
            use_original_profile=lossless,
            num_threads=0,
        )
        height, width = picture.shape[:2]
        return encoder(picture.tobytes(), width, height, jpeg_encode=False)

    def _size(self, data: bytes) -> tuple[int, int]:
        """From the head of the codestream (ISO/IEC 18181-1, annex D), as the decoder would read it all at once.

        Metadata other than the default, which is what this encoder writes, could hold animations and 16-bit pictures.
        """
        if data[:2] != b"\xff\x0a" or len(data) < 16:
            raise self._not_whole()
        bits = _Bits(data[2:16])
        small = bits.take(1)
        height = bits.size(small)
        ratio = bits.take(3)
        width = height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1] if ratio else bits.size(small)
        if bits.take(1) != 1 and "".join(str(bits.take(1)) for _ in _LOSSLESS_METADATA[1:]) != _LOSSLESS_METADATA[1:]:
            raise self._not_whole()
        return height, width

    def _decode(self, data: bytes) -> Pixels:
        _, info, pixels, *_ = self._jxl.Decoder(num_threads=0)(data)
        return np.frombuffer(pixels, np.uint8).reshape(info.height, info.width, 3).copy()


class _Bits:
    """Reader of bits, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self.rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self.rest & (1 << count) - 1
        self.rest >>= count
        return value

    def size(self, small: int) -> int:
        """One side of a picture: in eights, or in one of four ranges."""
        return 8 * (self.take(5) + 1) if small else self.take((9, 13, 18, 30)[self.take(2)]) + 1
