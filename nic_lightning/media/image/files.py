"""Read image files that may be hostile: bounded memory, and a reason for each file refused. No torch needed."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from nic_lightning.errors import DataError
from nic_lightning.media.image.pixels import Changes, Pixels, has_alpha, header_changes, to_rgb

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF")
MAX_PIXELS = 2**28
"""Largest image that is read: 768 MiB as 8-bit RGB."""
_OPENING = threading.Lock()


class UnreadableImage(DataError):
    """One file that is no usable image; `reason` says why in a few words."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot read the image {path}: {reason}.")
        self.path = path
        self.reason = reason


def read_rgb(path: str | Path) -> Pixels:
    """Decode an image file to 8-bit RGB, turned upright as its EXIF orientation says.

    Grey is repeated three times; palettes are looked up; 16-bit channels keep their high byte; transparency
    is composited on black, since the colours hidden under it are arbitrary. Of several frames the first is
    read.

    Raises:
        UnreadableImage: not a regular file, not an image, cut, damaged, of an unsupported kind or over
        `MAX_PIXELS`.
    """
    return read_image(path)[0]


def read_image(path: str | Path, photograph: bool = False) -> tuple[Pixels, Changes]:
    """As `read_rgb`, and what the image lost by it, which its user should know; of a `photograph` see `to_rgb`."""
    path = Path(path)
    try:
        with _open(path) as image:
            return _to_rgb(path, image, photograph)
    except UnreadableImage:
        raise
    except Exception as error:  # a decoder that meets hostile bytes may raise anything
        raise UnreadableImage(path, _reason(error)) from error


def require_image(path: Path) -> None:
    """Raise UnreadableImage for a file whose first bytes are no image's; what follows them is not read."""
    try:
        _open(path).close()
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(path, _reason(error)) from error


def probe(path: Path) -> tuple[int, int]:
    """(H, W) of the file as stored; `UnreadableImage` if it is damaged. Does not keep the pixels."""
    return probe_image(path)[0]


def probe_image(path: Path) -> tuple[tuple[int, int], Changes]:
    """As `probe`, and what reading the image will change.

    A PNG carries a checksum in every chunk, which is far quicker to verify than its pixels are to decode.
    """
    try:
        with _open(path) as image:
            if image.format == "PNG" and not has_alpha(image):
                (width, height), changes = image.size, header_changes(image)
                image.verify()
                return (height, width), changes
    except UnreadableImage:
        raise
    except Exception as error:
        raise UnreadableImage(path, _reason(error)) from error
    pixels, changes = read_image(path)
    return (pixels.shape[0], pixels.shape[1]), changes


def _open(path: Path) -> Image.Image:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImage(path, "a folder; name the images in it")
    if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
        raise UnreadableImage(path, "not a regular file")
    if status.st_size == 0:
        raise UnreadableImage(path, "an empty file")
    with _OPENING:  # Pillow's own limit, a third of ours, is one for the whole process
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    width, height = image.size
    if width * height > MAX_PIXELS or width * height == 0:
        image.close()
        raise UnreadableImage(path, f"{width}x{height} pixels, the limit is {MAX_PIXELS:,} in all")
    return image


def _to_rgb(path: Path, image: Image.Image, photograph: bool) -> tuple[Pixels, Changes]:
    try:
        return to_rgb(image, photograph)
    except DataError as error:
        raise UnreadableImage(path, str(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "truncated" in text.lower():
        return "cut short"
    return f"damaged ({text[:80].rstrip('.')})"
