"""Images: files to tensors (1, 3, H, W) and back, and how far a decoded one is from its original."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.errors import UserError
from nic_lightning.media.handling import Handler, Measure, against
from nic_lightning.media.image.fidelity import MsSsimOf, levels, precise_psnr, round_to_8_bits, to_db
from nic_lightning.media.image.files import read_image
from nic_lightning.media.image.memory import to_bytes
from nic_lightning.media.image.pixels import Changes
from nic_lightning.media.image.png import save_png

SAMPLE_SIZE = (21, 38)
"""(H, W): no multiples of any stride, so that padding and cropping are tried, too."""


class ImageHandler(Handler):
    """Images as codecs take and give them, RGB (1, 3, H, W): float32 in [0, 1], or uint8."""

    ending = ".png"

    def read(self, path: Path) -> tuple[Tensor, Changes]:
        """An image file of any kind that `read_image` takes, in sRGB, as uint8: a quarter of the memory of floats."""
        pixels, changes = read_image(path, photograph=True)
        return to_bytes(pixels), changes

    def write(self, decoded: Tensor, path: Path) -> None:
        """An 8-bit PNG."""
        save_png(decoded[0], path)

    def units(self, x: Tensor) -> int:
        """Pixels."""
        return x.shape[-2] * x.shape[-1]

    def compare(self, original: Tensor, decoded: Tensor, measures: Mapping[str, Measure]) -> dict[str, float | None]:
        """How far the decoded picture is from its original, both rounded to 8 bits."""
        return self.comparison(original, measures)(decoded)

    def comparison(
        self, original: Tensor, measures: Mapping[str, Measure]
    ) -> Callable[[Tensor], dict[str, float | None]]:
        """`compare` for several pictures; what belongs to the original alone is made once."""
        reference, levels_of_original = round_to_8_bits(original), levels(original).byte()
        similarity_of = MsSsimOf(reference)
        lpips_of = against(measures["lpips"], reference) if "lpips" in measures else None

        def compare(decoded: Tensor) -> dict[str, float | None]:
            picture = round_to_8_bits(decoded if decoded.dtype == torch.uint8 else decoded.float())
            similarity = similarity_of(picture)
            return {
                "psnr": float(precise_psnr(levels_of_original, picture).to(picture.dtype)),
                "ms_ssim": _number(similarity),
                "ms_ssim_db": _number(to_db(similarity)),
                "lpips": _number(lpips_of(picture)) if lpips_of is not None else None,
            }

        return compare

    def quality(self, key: str, original: Tensor, decoded: Tensor) -> float:
        """PSNR in dB of 8-bit-rounded images."""
        if key != "psnr":
            raise UserError(f"Of one image the PSNR is measured, not {key!r}.")
        return precise_psnr(original, decoded).item()

    def batched(self, content: Tensor) -> Tensor:
        """(1, 3, H, W) of (3, H, W)."""
        return content if content.dim() == 4 else content.unsqueeze(0)

    def sample(self) -> Tensor:
        """A coloured slope with noise, (1, 3, H, W) in [0, 1]."""
        height, width = SAMPLE_SIZE
        slope = torch.linspace(0, 1, height)[:, None] * torch.linspace(0, 1, width)
        colours = torch.stack([slope, 1 - slope, slope.flip(0)])[None]
        noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        return (0.8 * colours + 0.2 * noise).clamp(0, 1)

    def example(self, height: int, width: int, n: int = 1, seed: int = 0) -> Tensor:
        """Smooth random images with some noise, float32 (n, 3, height, width) in [0, 1]."""
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(n, 3, height // 8 + 2, width // 8 + 2, generator=generator)
        smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
        return (0.9 * smooth + 0.1 * torch.rand(n, 3, height, width, generator=generator)).clamp(0, 1)

    def size_label(self, x: Tensor) -> str:
        """Height and width."""
        return f"{x.shape[-2]}x{x.shape[-1]}"

    def extent(self, x: Tensor) -> tuple[int, int]:
        """(H, W)."""
        return x.shape[-2], x.shape[-1]


def _number(value: Tensor) -> float | None:
    """NaN (an image too small for the metric) is a value that is not there."""
    number = float(value)
    return None if number != number else number
