"""What images are called, counted in and compared by. No torch needed."""

from __future__ import annotations

from pathlib import Path

from nic_lightning.media.base import Medium, Quality, Rate
from nic_lightning.media.handling import Handler


def _look(path: Path) -> None:
    from nic_lightning.media.image.files import require_image

    require_image(path)


def _handler() -> Handler:
    from nic_lightning.media.image.handler import ImageHandler

    return ImageHandler()


MEDIUM = Medium(
    name="image",
    unit="pixel",
    units="pixels",
    rate=Rate("bpp", "bpp_estimated", "bpp", "rate [bits per pixel]", "bits per pixel that each file shall have"),
    qualities=(
        Quality("psnr", "PSNR", "dB", digits=2, tolerance=0.05, target_help="PSNR in dB that each image shall have"),
        Quality("ms_ssim", "MS-SSIM", drawn=False),
        Quality("ms_ssim_db", "MS-SSIM", "dB", digits=2),
        Quality("lpips", "LPIPS", lower_is_better=True),
        Quality("accuracy", "Accuracy", drawn=False, measured=False),
    ),
    default="psnr",
    look=_look,
    handler=_handler,
    pictures=True,
)
