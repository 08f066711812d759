"""Colour profiles of images: what a camera or a program calls its colours, as sRGB, which codecs take. No torch."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

MAX_PROFILE = 1 << 22
"""Bytes of a profile that is read: those of printers, the largest in use, have 2 MB."""
NO_PROFILE = "CMYK was converted to RGB without a colour profile, so colours are approximate"
UNUSED = "its colour profile was not used, since it does not fit the image"
_SPACES = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""Colour space of a profile by the mode of an image that it fits."""
_NEAR = 2
"""Levels by which sRGB profiles of several makers differ, at most."""
_FLAGS = 0x2000  # black-point compensation


def to_srgb(image: Image.Image, data: object) -> tuple[Image.Image, tuple[str, ...]]:
    """An image in the colours of sRGB, given its profile's bytes, and what was done.

    A profile that is sRGB's own, within two levels, changes nothing. One that is damaged, too large or of another
    colour space than the image is left out. Alpha is kept.
    """
    if not isinstance(data, bytes) or not data:
        return image, (NO_PROFILE,) * (image.mode == "CMYK")
    if image.mode in ("P", "PA", "LA", "La", "RGBa", "1"):
        grey = image.mode in ("LA", "La", "1")
        image, alpha = _apart(image, "L" if grey else "RGB")
    else:
        alpha = None
    made, changes = _converted(image, data)
    if alpha is not None:
        made = made.convert("RGB")
        made.putalpha(alpha)
    return made, changes


def _converted(image: Image.Image, data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    from PIL import ImageCms

    if len(data) > MAX_PROFILE or image.mode not in _SPACES:
        return image, (UNUSED,)
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if profile.profile.xcolor_space.strip() != _SPACES[image.mode]:
            return image, (UNUSED,)
        wanted = "RGBA" if image.mode == "RGBA" else "RGB"
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), image.mode, wanted, intent, ImageCms.Flags(_FLAGS)
        )
        if image.mode != "CMYK" and _does_nothing(ImageCms, transform, image.mode, wanted):
            return image, ()
        made = ImageCms.applyTransform(image, transform)
        name = "".join(sign if sign.isprintable() else "?" for sign in ImageCms.getProfileDescription(profile).strip())
    except Exception:  # a foreign profile, of which the library says nearly anything
        return image, (UNUSED,)
    assert made is not None
    return made, (f"colours were converted to sRGB from {name[:60] or 'its profile'}",)


def _does_nothing(cms: Any, transform: Any, mode: str, wanted: str) -> bool:
    """Whether a transform leaves a lattice of colours as they are."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    colours = Image.fromarray(lattice) if mode != "L" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    made = cms.applyTransform(colours.convert(mode), transform)
    before, after = (np.asarray(one.convert(wanted), dtype=np.int16) for one in (colours, made))
    return bool(np.abs(before - after).max() <= _NEAR)


def _apart(image: Image.Image, mode: str) -> tuple[Image.Image, Image.Image | None]:
    """Colours and alpha of an image; None for one without."""
    transparent = image.mode.lower().endswith("a") or "transparency" in image.info
    return image.convert(mode), image.convert("RGBA").getchannel("A") if transparent else None
