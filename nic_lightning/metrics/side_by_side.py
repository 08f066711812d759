"""One photograph by a learned codec and by classic ones, whose files are as large: what a page can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nic_lightning.baselines.pillow import Avif, Jpeg, PillowCodec, WebP
from nic_lightning.codecs.choosing import file_at
from nic_lightning.codecs.fitting import largest_within
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.quality import point_of_quality
from nic_lightning.errors import UserError
from nic_lightning.media.base import medium_of
from nic_lightning.media.image.memory import to_pixels
from nic_lightning.media.image.pixels import Pixels

CLASSIC: Mapping[str, type[PillowCodec]] = {"JPEG": Jpeg, "WebP": WebP, "AVIF": Avif}


@dataclass(frozen=True)
class Shown:
    """One file of the photograph, and what it decodes to."""

    name: str
    """Of the codec."""
    setting: str
    """Its operating point: "quality 50", "q35"."""
    size: int
    """Bytes of the file."""
    bpp: float
    psnr: float
    ms_ssim_db: float | None
    """None of images too small for it."""
    pixels: Pixels


@dataclass(frozen=True)
class Refused:
    """A codec that has no file so small."""

    name: str
    reason: str


def side_by_side(
    codec: LearnedCodec, name: str, x: Tensor, qualities: Sequence[int]
) -> Iterator[tuple[Shown, list[Shown | Refused]]]:
    """For each quality the learned codec's file, and of each classic codec the nearest one from below in size.

    Args:
        codec: of images.
        name: what the page calls it.
        x: the photograph, uint8 (1, 3, H, W).
        qualities: of the learned codec, 1 to 100.
    """
    compare = medium_of(codec).handler().comparison(x, {})
    classic = {title: kind(_settings(kind)) for title, kind in CLASSIC.items()}
    for quality in qualities:
        point = point_of_quality(codec, quality)
        data = file_at(codec, x, point).data
        (decoded,) = codec.decoding().of(data).images
        own = _shown(name, f"quality {quality}", data, decoded, compare)
        yield own, [_nearest(title, one, x, len(data), compare) for title, one in classic.items()]


def _nearest(
    title: str, codec: PillowCodec, x: Tensor, size: int, compare: Callable[[Tensor], dict[str, float | None]]
) -> Shown | Refused:
    try:
        choice = largest_within(codec, x.float() / 255, size)
    except UserError as error:  # too small a size, or too large a picture for the format
        return Refused(title, str(error))
    decoded = codec.decompress(*codec.unpack(choice.data))
    return _shown(title, choice.point.label, choice.data, decoded, compare)


def _shown(
    name: str, setting: str, data: bytes, decoded: Tensor, compare: Callable[[Tensor], dict[str, float | None]]
) -> Shown:
    found = compare(decoded)
    pixels = np.ascontiguousarray(to_pixels(decoded[0]))
    psnr = found["psnr"]
    assert psnr is not None
    bpp = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
    return Shown(name, setting, len(data), bpp, psnr, found["ms_ssim_db"], pixels)


def _settings(kind: type[PillowCodec]) -> list[int]:
    """Every whole setting that makes another file than the one below it."""
    step = kind()._step
    return [quality for quality in range(1, 101) if quality == 1 or step(quality) != step(quality - 1)]
