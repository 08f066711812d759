"""VVC intra by the reference software VTM, which the user builds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nic_lightning.baselines.programs import ProgramCodec
from nic_lightning.baselines.still import Pixels
from nic_lightning.errors import BitstreamError, UserError

_RED, _BLUE = 0.2126, 0.0722
"""Weights of luma in ITU-R BT.709; green has the rest."""


class Vtm(ProgramCodec):
    """VVC intra, 4:4:4, of pictures in BT.709 YCbCr, full range, 10 bits.

    The packed file is width and height, two bytes each, and the bitstream: its decoder writes samples without a size.

    Args:
        config: the encoder's configuration, `cfg/encoder_intra_vtm.cfg` among VTM's sources.
        qps: quantisation parameters, 0..63.
        programs: names or paths of encoder and decoder.
        timeout_s: seconds that one run may take; a low QP takes the encoder minutes for each Kodak image.
    """

    name = "vtm"
    origin = "build VTM, https://vcgit.hhi.fraunhofer.de/jvet/VVCSoftware_VTM, and put its bin folder on PATH"
    max_side = 2**16 - 1
    bounds = (-63, 0)

    def __init__(
        self,
        config: str | None = None,
        qps: Sequence[int] = (47, 42, 37, 32, 27, 22, 17, 12),
        programs: tuple[str, str] = ("EncoderApp", "DecoderApp"),
        timeout_s: float = 7200,
    ) -> None:
        super().__init__(qps, programs, timeout_s)
        if config is None:
            raise UserError("VTM needs codec.config=FILE, cfg/encoder_intra_vtm.cfg among its sources.")
        self.config = Path(config).absolute()
        if not self.config.is_file():
            raise UserError(f"VTM's configuration {config} does not exist.")

    def _encode_in(self, folder: Path, picture: Pixels, qp: int) -> bytes:
        height, width = picture.shape[:2]
        (folder / "in.yuv").write_bytes(_to_ycbcr(picture).tobytes())
        source = ["-i", "in.yuv", "-wdt", str(width), "-hgt", str(height), "-fr", "1", "-f", "1"]
        form = ["--InputChromaFormat=444", "--InputBitDepth=10", "--ConformanceWindowMode=1"]
        command = ["-c", str(self.config), *source, *form, "-q", str(qp), "-b", "out.vvc", "-o", "out.yuv"]
        size = width.to_bytes(2, "big") + height.to_bytes(2, "big")
        return size + self._run_encoder(folder, command, "out.vvc")

    def _size(self, data: bytes) -> tuple[int, int]:
        """The bitstream itself is the decoder's to judge; it begins with a start code (H.266, annex B)."""
        if data[4:8] != b"\0\0\0\1" and data[4:7] != b"\0\0\1":
            raise self._not_whole()
        return int.from_bytes(data[2:4], "big"), int.from_bytes(data[:2], "big")

    def _decode_in(self, folder: Path, data: bytes) -> Pixels:
        height, width = self._size(data)
        (folder / "in.vvc").write_bytes(data[4:])
        decoded = self._run_decoder(folder, ["-b", "in.vvc", "-o", "out.yuv", "-d", "10"], "out.yuv")
        if len(decoded) != 6 * width * height:
            raise BitstreamError("The vtm file holds a picture of another size than it claims.")
        return _to_rgb(np.frombuffer(decoded, "<u2").reshape(3, height, width))


def _to_ycbcr(picture: Pixels) -> Pixels:
    """Planes (3, H, W) of 10 bits, little-endian, of RGB pixels (ITU-R BT.709-6, items 3.2 and 3.3, full range)."""
    red, green, blue = np.moveaxis(picture.astype(np.float64) / 255, 2, 0)
    luma = _RED * red + (1 - _RED - _BLUE) * green + _BLUE * blue
    planes = np.stack([luma, (blue - luma) / (2 - 2 * _BLUE) + 0.5, (red - luma) / (2 - 2 * _RED) + 0.5])
    return np.rint(planes.clip(0, 1) * 1023).astype("<u2")


def _to_rgb(planes: Pixels) -> Pixels:
    """Inverse of `_to_ycbcr`, rounded to 8 bits."""
    luma, cb, cr = planes.astype(np.float64) / 1023
    red = luma + (2 - 2 * _RED) * (cr - 0.5)
    blue = luma + (2 - 2 * _BLUE) * (cb - 0.5)
    green = (luma - _RED * red - _BLUE * blue) / (1 - _RED - _BLUE)
    return np.rint(np.stack([red, green, blue], axis=2).clip(0, 1) * 255).astype(np.uint8)
