"""Pixels of PIL images as 8-bit RGB: what is converted how, and what is lost by it. No torch needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nic_lightning.errors import DataError
from nic_lightning.media.image.colours import to_srgb

Pixels = NDArray[np.uint8]
"""One image, shape (H, W, 3), RGB, 0 to 255."""
Changes = tuple[str, ...]
"""What an image lost when it was read, as what was done: TRANSPARENCY, DEPTH, FRAMES, METADATA, or of its colours."""
TRANSPARENCY = "transparency was put on black"
DEPTH = "16 bits a channel were cut to 8"
FRAMES = "only the first of several frames was read"
METADATA = "EXIF metadata, such as date, camera and place, was left out"
_TAGS = {0x010E, 0x010F, 0x0110, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825}
"""What EXIF says for people: description, maker, model, time, artist, copyright, camera's settings, place. Orientation
is applied, and the others describe how a TIFF holds its pixels."""


def to_rgb(image: Image.Image, photograph: bool = False) -> tuple[Pixels, Changes]:
    """8-bit RGB of a PIL image, turned upright as its EXIF orientation says, and what the image lost by it.

    Grey is repeated three times; palettes are looked up; CMYK is converted as Pillow does; 16-bit channels keep their
    high byte; transparency is composited on black, since the colours hidden under it are arbitrary. Of several frames
    the first is taken. Raises DataError, with the reason alone, for pixels without a known range.

    A `photograph` that somebody wants to see again is also converted to sRGB by its colour profile, and what else is
    left out of it is named; pixels of data sets are numbers, and taken as they are stored.
    """
    changes = header_changes(image)
    image.load()
    profile = image.info.get("icc_profile")
    changes += (METADATA,) * (photograph and _has_metadata(image))
    upright = _upright(image)
    if upright.mode.startswith("I;16") or (upright.mode == "I" and image.format == "PNG"):
        grey = (np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2), changes
    if upright.mode in ("I", "F"):
        raise DataError(f"pixels of kind {upright.mode!r} have no known range")
    if photograph:
        upright, done = to_srgb(upright, profile)
        changes += done
    if has_alpha(upright):
        upright = upright.convert("RGBA")
        if np.asarray(upright)[..., 3].min() < 255:
            changes += (TRANSPARENCY,)
        black = Image.new("RGBA", upright.size, (0, 0, 0, 255))
        upright = Image.alpha_composite(black, upright)
    return np.array(upright.convert("RGB")), changes


def has_alpha(image: Image.Image) -> bool:
    """Whether some pixels may be transparent."""
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")


def header_changes(image: Image.Image) -> Changes:
    """What is lost by what the header says; of an image that is not loaded yet, which forgets it then."""
    codings = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in getattr(image, "tile", ())]
    deep = image.mode.startswith("I;16") or any(
        ";16" in str(part) or (type(part) is int and image.format == "PPM" and part > 255)
        for coding in codings
        for part in coding
    )
    # Phones put depth maps into JPEG; who has sought another frame knows that there are several.
    several = image.format != "JPEG" and getattr(image, "is_animated", False) and image.tell() == 0
    return (DEPTH,) * deep + (FRAMES,) * bool(several)


def _has_metadata(image: Image.Image) -> bool:
    """Whether EXIF says something for people."""
    try:
        return not _TAGS.isdisjoint(image.getexif())
    except Exception:  # a broken EXIF block says nothing
        return False


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image
