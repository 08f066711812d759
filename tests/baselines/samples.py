"""What the tests of all classic codecs are done with."""

from __future__ import annotations

import torch

from nic_lightning.baselines.still import StillImageCodec


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
