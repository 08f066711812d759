"""Find image files; what reads them is in `media/image/files.py`."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

from nic_lightning.media.image.files import (
    FORMATS,
    MAX_PIXELS,
    UnreadableImage,
    probe,
    probe_image,
    read_image,
    read_rgb,
    require_image,
)
from nic_lightning.media.image.pixels import DEPTH, FRAMES, TRANSPARENCY, Changes, Pixels

__all__ = [
    "DEPTH",
    "FORMATS",
    "FRAMES",
    "MAX_PIXELS",
    "SUFFIXES",
    "TRANSPARENCY",
    "Changes",
    "Pixels",
    "UnreadableImage",
    "list_images",
    "probe",
    "probe_image",
    "read_image",
    "read_rgb",
    "require_image",
]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"})


def list_images(folder: Path, *, recursive: bool = True, pattern: str = "*") -> tuple[list[Path], list[str]]:
    """Image files below a folder in sorted order, and "path: reason" for each link that was not followed.

    Folders and files whose name starts with a dot are left out. Links to folders are never followed; links
    to files only while their target stays inside the folder.
    """
    inside = folder.resolve()
    found: list[Path] = []
    refused: list[str] = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        for name in folders:
            if (here / name).is_symlink():
                refused.append(
                    f"{here / name}: a link to a folder is not followed; name its target as a folder of its own"
                )
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(files):
            path = here / name
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES or not fnmatch(name, pattern):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                refused.append(
                    f"{path}: a link that leaves the folder is not followed; copy the file, or name its folder"
                )
            else:
                found.append(path)
    return sorted(found), refused
