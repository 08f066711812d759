"""Files as people have them: what is kept of each kind, and what is said of the rest."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from nic_lightning.media.image.colours import NO_PROFILE, UNUSED
from nic_lightning.media.image.files import read_image
from nic_lightning.media.image.handler import ImageHandler
from nic_lightning.media.image.memory import read_picture, to_pixels
from nic_lightning.media.image.pixels import DEPTH, METADATA, TRANSPARENCY

RED = np.full((6, 8, 3), (200, 40, 40), np.uint8)
RED[:, 4:] = (30, 90, 160)


def profile(name: str = "sRGB") -> bytes:
    """sRGB's own profile, or one with red and blue exchanged, called "Swapped": a conversion that shows."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if name == "Swapped":
        for first, second in ((b"rXYZ", b"bXYZ"),):
            a, b = data.index(first), data.index(second)
            data[a : a + 4], data[b : b + 4] = second, first
    return bytes(data)


def kinds() -> dict[str, tuple[Image.Image, dict[str, Any], np.ndarray, tuple[str, ...]]]:
    """By name: image, how it is saved, what is read, and what is said."""
    rgb = Image.fromarray(RED)
    glass = rgb.copy()
    glass.putalpha(Image.fromarray(np.full((6, 8), 128, np.uint8)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray((RED[..., 0].astype(np.uint16) << 8) + 77)
    grey = np.repeat(RED[..., :1], 3, axis=2)
    on_black = np.asarray(Image.alpha_composite(Image.new("RGBA", rgb.size, "black"), glass).convert("RGB"))
    cmyk = rgb.convert("CMYK")
    swapped = "colours were converted to sRGB from sRGB built-in"
    return {
        "plain": (rgb, {}, RED, ()),
        "turned": (rgb, {"exif": turned}, np.rot90(RED, -1), ()),
        "metadata": (rgb, {"exif": exif}, np.rot90(RED, -1), (METADATA,)),
        "alpha": (glass, {}, on_black, (TRANSPARENCY,)),
        "grey": (Image.fromarray(RED[..., 0]), {}, grey, ()),
        "16 bits": (deep, {}, grey, (DEPTH,)),
        "srgb": (rgb, {"icc_profile": profile()}, RED, ()),
        "swapped": (rgb, {"icc_profile": profile("Swapped")}, RED[..., ::-1], (swapped,)),
        "swapped glass": (glass, {"icc_profile": profile("Swapped")}, on_black[..., ::-1], (swapped, TRANSPARENCY)),
        "damaged profile": (rgb, {"icc_profile": profile()[:200]}, RED, (UNUSED,)),
        "of another space": (Image.fromarray(RED[..., 0]), {"icc_profile": profile()}, grey, (UNUSED,)),
        "cmyk": (cmyk, {"format": "TIFF"}, np.asarray(cmyk.convert("RGB")), (NO_PROFILE,)),
    }


@pytest.mark.parametrize("kind", kinds())
def test_what_is_kept_of_a_file_and_what_is_said(tmp_path: Path, kind: str) -> None:
    image, options, expected, said = kinds()[kind]
    path = tmp_path / "image"
    image.save(path, **{"format": "PNG"} | options)
    x, changes = ImageHandler().read(path)
    assert changes == said
    assert np.abs(to_pixels(x[0]).astype(int) - expected).max() <= (2 if "swapped" in kind else 0)
    held, same = read_picture(Image.open(io.BytesIO(path.read_bytes())))
    assert same == changes
    assert np.array_equal(to_pixels(held[0]), to_pixels(x[0]))


def test_data_sets_take_numbers_as_they_are_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    Image.fromarray(RED).save(tmp_path / "a.png", icc_profile=profile("Swapped"), exif=exif)
    pixels, changes = read_image(tmp_path / "a.png")
    assert np.array_equal(pixels, RED)
    assert changes == ()
