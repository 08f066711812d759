"""Images of several domains, a folder each, as image-to-image translation trains on them (Choi et al. 2020)."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from nic_lightning.data.catalog import find_root
from nic_lightning.data.datasets import ImageFolder
from nic_lightning.data.images import Pixels, read_image
from nic_lightning.data.places import folders_of
from nic_lightning.errors import DataError, counted
from nic_lightning.media.image.memory import to_tensor

CROP_PROBABILITY, CROP_AREA, CROP_RATIO = 0.5, (0.8, 1.0), (0.9, 1.1)
"""How often a part is cut out, its area over the image's, and its width over its height."""
_TRIES = 10


class Translation(NamedTuple):
    """What one training step needs of one source image; collated, each field gets a batch dimension."""

    source: Tensor
    """(3, size, size) in [0, 1]."""
    source_domain: int
    reference: Tensor
    """An image of the target domain, (3, size, size)."""
    second_reference: Tensor
    """Another image of it, never the same one."""
    target_domain: int


class DomainFolders:
    """The images of each domain, from a folder that holds a folder for each.

    Args:
        folder: path, below the data root or the working directory.
        root: the data root; default NIC_DATA, else ./data.
        domains: names, in the order of their labels; None takes all folders, sorted.
        cache_mb: MiB of decoded images to keep in memory, shared equally.
        least: images that a domain needs; 2 for pairs of references.

    Raises:
        DataError: no such folder, fewer than two domains, or one with too few usable images.
    """

    def __init__(
        self,
        folder: str | Path,
        root: str | Path | None = None,
        domains: list[str] | None = None,
        cache_mb: int = 0,
        least: int = 2,
    ) -> None:
        self.folder = _find(folder, root)
        self.name = self.folder.name
        present = sorted(p.name for p in self.folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        self.domains = present if domains is None else list(domains)
        if missing := [name for name in self.domains if name not in present]:
            raise DataError(f"{self.folder} has no domain {missing[0]!r}; it has {', '.join(present) or 'none'}.")
        if len(self.domains) < 2:
            raise DataError(
                f"{self.folder} holds {counted(len(self.domains), 'domain')}; translation needs a folder each for two."
            )
        share = cache_mb // len(self.domains)
        self.images = [ImageFolder(self.folder / name, cache_mb=share) for name in self.domains]
        for name, images in zip(self.domains, self.images, strict=True):
            if len(images) < least:
                raise DataError(
                    f"Domain {name!r} of {self.folder} has {counted(len(images), 'usable image')}; it needs {least}."
                )

    def __len__(self) -> int:
        """Images of all domains."""
        return sum(map(len, self.images))

    @property
    def cached(self) -> tuple[int, int]:
        """Images held in memory, and their bytes."""
        counts, sizes = zip(*(images.cached for images in self.images), strict=True)
        return sum(counts), sum(sizes)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of all images."""
        return [size for images in self.images for size in images.sizes]


class Translations(Dataset[Translation]):
    """Training samples: every domain is drawn equally often, whatever its number of images.

    Source and references are drawn independently, so that both can be of one domain. Sample and transforms follow from
    (seed, epoch, index) alone.
    """

    def __init__(self, folders: DomainFolders, size: int, seed: int) -> None:
        self.folders, self.size, self.seed = folders, size, seed

    def __getitem__(self, index: tuple[int, int]) -> Translation:
        epoch, sample = index
        numbers = _uniform(f"{self.seed}/{epoch}/{sample}")
        source_domain, target_domain = (int(next(numbers) * len(self.folders.domains)) for _ in range(2))
        sources, references = self.folders.images[source_domain], self.folders.images[target_domain]
        first = int(next(numbers) * len(references))
        other = (first + 1 + int(next(numbers) * (len(references) - 1))) % len(references)
        chosen = sources.pixels(int(next(numbers) * len(sources))), references.pixels(first), references.pixels(other)
        x, reference, second = (to_tensor(augmented(pixels, self.size, numbers)) for pixels in chosen)
        return Translation(x, source_domain, reference, second, target_domain)


class WholeImages(Dataset[tuple[Tensor, int]]):
    """All images, domain after domain, resized to `size` x `size` as for evaluation, and their labels."""

    def __init__(self, folders: DomainFolders, size: int) -> None:
        self.folders, self.size = folders, size

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        for label, images in enumerate(self.folders.images):
            if index < len(images):
                return to_tensor(resized(images.pixels(index), self.size)), label
            index -= len(images)
        raise IndexError(index)


def augmented(pixels: Pixels, size: int, numbers: Iterator[float]) -> Pixels:
    """Half of the time a random part, then `size` x `size` pixels, then mirrored half of the time.

    The part has 80 to 100 % of the area and a ratio of sides of 0.9 to 1.1, as in StarGAN v2's training; resampling is
    bilinear with antialiasing. `numbers` are uniform in [0, 1).
    """
    height, width = pixels.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    if next(numbers) < CROP_PROBABILITY:
        box = _part(height, width, numbers)
    small = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box=box))
    return small[:, ::-1] if next(numbers) < 0.5 else small


def resized(pixels: Pixels, size: int) -> Pixels:
    """The whole image at `size` x `size` pixels, as it is evaluated; bilinear with antialiasing."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def read_reference(path: str | Path, size: int) -> tuple[Tensor, str]:
    """An image as the style encoder takes it, (3, size, size) in [0, 1], and what was done to it in words.

    It is resized as in `resized`. Grey, transparent and turned images are read as `read_rgb` does.

    Raises:
        DataError: it cannot be read, or its sides differ more than `CROP_RATIO` allows, that is than in training.
    """
    pixels, changes = read_image(path)
    height, width = pixels.shape[:2]
    if not CROP_RATIO[0] <= width / height <= CROP_RATIO[1]:
        raise DataError(
            f"The reference {path} has {height}x{width} pixels, and making it square would distort it more than "
            f"training did: cut a square out of it."
        )
    done = [*changes, *([f"{height}x{width} resized to {size}x{size}"] if (height, width) != (size, size) else [])]
    about = f"style of {path}" + (f" ({', '.join(done)})" if done else "")
    return to_tensor(resized(pixels, size) if (height, width) != (size, size) else pixels), about


def _part(height: int, width: int, numbers: Iterator[float]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in whole pixels; the whole image where no draw fits into it."""
    low, high = map(math.log, CROP_RATIO)
    for _ in range(_TRIES):
        area = height * width * (CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * next(numbers))
        ratio = math.exp(low + (high - low) * next(numbers))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = (int(next(numbers) * (room + 1)) for room in (height - h, width - w))
            return float(left), float(top), float(left + w), float(top + h)
    return 0.0, 0.0, float(width), float(height)


def _uniform(key: str) -> Iterator[float]:
    """Numbers in [0, 1) that follow from the key, without end: a hash has no state to seed, share or save."""
    for block in itertools.count():
        digest = hashlib.blake2b(f"{key}/{block}".encode(), digest_size=64).digest()
        yield from (int.from_bytes(digest[i : i + 8], "little") / 2**64 for i in range(0, 64, 8))


def _find(folder: str | Path, root: str | Path | None) -> Path:
    found = folders_of(str(folder), find_root(root))
    if len(found) > 1:
        raise DataError(f"{folder} matches {len(found)} folders, such as {found[0]} and {found[1]}; name one.")
    if found:
        return found[0]
    raise DataError(f"There is no folder {folder} below {find_root(root)} or here; set NIC_DATA or data.root.")
