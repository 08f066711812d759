"""What the columns of curves are called in files: CompressAI's names where it has one. No torch needed."""

from __future__ import annotations

from nic_lightning.media.base import Medium
from nic_lightning.report.curves.curve import TIMES

_OTHER_NAMES = {
    "bpp_estimated": ("bpp-estimated", "bpp-loss"),
    "psnr": ("psnr-rgb", "psnr"),
    "ms_ssim": ("ms-ssim-rgb", "ms-ssim"),
    "ms_ssim_db": ("ms-ssim-db", "ms-ssim-rgb-db"),
    "lpips": ("lpips", "lpips-alex"),
    "accuracy": ("accuracy", "acc-top1"),
}
DISTANCES = ("1-ms-ssim", "1-ms-ssim-rgb")
COUNTS = ("index", "width", "parameters", "macs", "images")
NUMBERS = ("lmbda", "quality", "step")
TEXTS = ("label", "mode", "run")


def keys_of(medium: Medium) -> dict[str, tuple[str, ...]]:
    """Our key -> names that stand for it in files, the first that is there; "_" counts as "-", capitals do not."""
    return {key: _OTHER_NAMES.get(key, (canonical(key),)) for key in (*medium.averaged, *TIMES)}


def quality_names(medium: Medium) -> tuple[str, ...]:
    """What qualities are called in files."""
    names = tuple(name for quality in medium.qualities for name in keys_of(medium)[quality.key])
    return names + (DISTANCES if "ms_ssim" in medium.compared else ())


def canonical(key: str) -> str:
    """A name as it is compared."""
    return key.strip().lower().replace("_", "-").replace(" ", "-")
