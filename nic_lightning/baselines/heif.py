"""HEVC intra, by x265 and libde265 in HEIF files, as the package pillow-heif ships them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from nic_lightning.baselines.still import (
    Chroma,
    Pixels,
    StillImageCodec,
    checked_chroma,
    is_whole_box_file,
    need,
)
from nic_lightning.errors import BitstreamError, UserError

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
TUNES = ("psnr", "ssim", "grain", "fastdecode")


class HevcIntra(StillImageCodec):
    """One HEVC intra picture, BT.601 as in BPG, one thread; the boxes around it take some 400 bytes of each file.

    Args:
        qualities: 0..100; libheif gives x265 the constant rate factor (100 - quality) / 2, rounded down, of which all
            below 4 give the finest quantiser when tuned for PSNR (findings/avif_heif_qualities.sh).
        chroma: sampling of the chroma planes: "4:2:0" or "4:4:4".
        preset: effort of x265.
        tune: what x265 optimises; libheif's default, "ssim", has about 0.4 dB less PSNR at the same rate. Through
            libheif, "psnr" leaves x265's psychovisual decisions on, which cost 1 % of rate at 4:2:0 and 12 % at 4:4:4;
            here it turns them off (findings/heif_tune_psnr.sh).
    """

    name = "hevc"
    max_side = 16_384

    def __init__(
        self,
        qualities: Sequence[int] = (5, 10, 20, 30, 40, 50),
        chroma: Chroma = "4:2:0",
        preset: str = "slow",
        tune: str = "psnr",
    ) -> None:
        self.tune = tune
        super().__init__(qualities)
        self._heif: Any = need("pillow_heif", "pillow-heif", "HEVC intra")
        for what, value, known in (("preset", preset, PRESETS), ("tune", tune, TUNES)):
            if value not in known:
                raise UserError(f"HEVC {what} is one of {', '.join(known)}, not {value!r}.")
        self.chroma, self.preset = checked_chroma(chroma, "HEVC"), preset
        if chroma != "4:2:0":
            self.name = "hevc_444"

    def _encode(self, picture: Pixels, quality: float) -> bytes:
        height, width = picture.shape[:2]
        effort = {"preset": self.preset, "tune": self.tune, "x265:pools": "none"}
        if self.tune == "psnr":
            effort |= {"x265:psy-rd": "0", "x265:psy-rdoq": "0"}
        buffer = io.BytesIO()
        self._heif.encode(
            "RGB",
            (width, height),
            picture.tobytes(),
            buffer,
            quality=round(quality),
            chroma=int(self.chroma.replace(":", "")),
            enc_params=effort,
        )
        return buffer.getvalue()

    def _step(self, quality: float) -> float:
        factor = (100 - round(quality)) // 2
        return -max(3, factor) if self.tune == "psnr" else -factor

    def _size(self, data: bytes) -> tuple[int, int]:
        if not is_whole_box_file(data, (b"heic", b"heix")):
            raise self._not_whole()
        width, height = self._open(data).size
        return height, width

    def _decode(self, data: bytes) -> Pixels:
        # libheif refuses a picture whose coded size is not that of the header before it takes memory for it.
        return np.array(np.asarray(self._open(data)[0]))

    def _open(self, data: bytes) -> Any:
        """Header of a file, refused unless it is one picture in RGB."""
        pictures = self._heif.open_heif(io.BytesIO(data))
        if len(pictures) != 1 or pictures.mode != "RGB":
            raise BitstreamError(f"This {self.name} file does not hold one picture in RGB.")
        return pictures
