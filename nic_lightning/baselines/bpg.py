"""BPG by the programs bpgenc and bpgdec, which the user installs. The packed file is the BPG file itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nic_lightning.baselines.programs import ProgramCodec
from nic_lightning.baselines.still import Chroma, Pixels, checked_chroma
from nic_lightning.errors import BitstreamError, UserError


class Bpg(ProgramCodec):
    """BPG: one HEVC intra picture in YCbCr, 8 bits, as in published curves.

    Args:
        qps: quantisation parameters, 0..51.
        chroma: sampling of the chroma planes: "4:4:4" as in published curves, or "4:2:0".
        encoder: "x265" or "jctvc", of those that bpgenc was built with.
        programs: names or paths of encoder and decoder.
        timeout_s: seconds that one run may take.
    """

    name = "bpg"
    origin = "install libbpg, https://bellard.org/bpg"
    max_side = 2**26
    bounds = (-51, 0)

    def __init__(
        self,
        qps: Sequence[int] = (47, 42, 37, 32, 27, 22, 17, 12),
        chroma: Chroma = "4:4:4",
        encoder: str = "x265",
        programs: tuple[str, str] = ("bpgenc", "bpgdec"),
        timeout_s: float = 600,
    ) -> None:
        super().__init__(qps, programs, timeout_s)
        if encoder not in ("x265", "jctvc"):
            raise UserError(f"The BPG encoder is 'x265' or 'jctvc', not {encoder!r}.")
        self.chroma, self.kind = checked_chroma(chroma, "BPG"), encoder
        if chroma != "4:4:4":
            self.name = "bpg_420"

    def _encode_in(self, folder: Path, picture: Pixels, qp: int) -> bytes:
        Image.fromarray(picture).save(folder / "in.png")
        form = ["-f", self.chroma.replace(":", ""), "-c", "ycbcr", "-b", "8", "-e", self.kind]
        return self._run_encoder(folder, ["-q", str(qp), *form, "-o", "out.bpg", "in.png"], "out.bpg")

    def _size(self, data: bytes) -> tuple[int, int]:
        """From the header (BPG specification 0.9.8, section 3.1), of one picture without alpha plane."""
        if data[:4] != b"BPG\xfb" or len(data) < 6 or data[4] & 0x10 or data[5] & 0x05:
            raise self._not_whole()
        place, (width, height, length) = 6, (0, 0, 0)
        place, width = _number(data, place)
        place, height = _number(data, place)
        place, length = _number(data, place)
        if data[5] & 0x08:  # extensions, before the picture
            extension = _number(data, place)
            place = extension[0] + extension[1]
        if length > len(data) - place:
            raise self._not_whole()
        return height, width

    def _decode_in(self, folder: Path, data: bytes) -> Pixels:
        (folder / "in.bpg").write_bytes(data)
        decoded = self._run_decoder(folder, ["-b", "8", "-o", "out.png", "in.bpg"], "out.png")
        with Image.open(io.BytesIO(decoded), formats=["PNG"]) as image:
            if (image.height, image.width) != self._size(data):
                raise BitstreamError("The bpg file holds a picture of another size than it claims.")
            return np.array(image.convert("RGB"))


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the highest first, and the place after it."""
    value = 0
    for byte in data[place : place + 5]:
        place, value = place + 1, value << 7 | byte & 0x7F
        if byte < 0x80:
            return place, value
    raise BitstreamError("This is not a whole bpg file: a number in its header has no end.")
