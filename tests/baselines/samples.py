"""What the tests of all classic codecs are done with."""

from __future__ import annotations

import torch

from nic_lightning.baselines.heif import HevcIntra
from nic_lightning.baselines.jpegxl import JpegXl
from nic_lightning.baselines.pillow import Avif, Jpeg, Jpeg2000, WebP
from nic_lightning.baselines.still import StillImageCodec

CODECS = {
    "jpeg": lambda: Jpeg([10, 95]),
    "jpeg_444": lambda: Jpeg([10, 95], "4:4:4"),
    "webp": lambda: WebP([10, 95]),
    "webp_best": lambda: WebP([10, 95], method=6),
    "jpeg2000": lambda: Jpeg2000([0.2, 16]),
    "avif": lambda: Avif([10, 90], speed=9),
    "avif_444": lambda: Avif([10, 90], "4:4:4", speed=9),
    "hevc": lambda: HevcIntra([10, 80]),
    "hevc_444": lambda: HevcIntra([10, 80], "4:4:4"),
    "jpegxl": lambda: JpegXl([10, 95]),
}
"""Every still-image format that a library codes, at a low and a high quality."""


def picture(height: int = 33, width: int = 65) -> torch.Tensor:
    """A smooth image, (1, 3, height, width) in [0, 1]."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def textured(height: int, width: int) -> torch.Tensor:
    """A smooth image under fine detail, 8-bit values, (1, 3, height, width) in [0, 1]."""
    detail = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2))
    return ((0.8 * picture(height, width) + 0.2 * detail) * 255).round() / 255


def packed(codec: StillImageCodec, x: torch.Tensor, index: int = 0) -> bytes:
    """The file of an image at one of the codec's operating points."""
    point = codec.operating_points[index]
    return codec.pack(codec.compress(x, point), point)
