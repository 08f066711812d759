"""Image folders and random crops of them, with the decoded images kept in memory."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from nic_lightning.data.catalog import Located, locate
from nic_lightning.data.images import Changes, Pixels, UnreadableImage, probe_image, read_image, read_rgb
from nic_lightning.data.transforms import center_crop, random_crop
from nic_lightning.errors import DataError
from nic_lightning.media.image.memory import to_tensor

log = logging.getLogger(__name__)

MIB = 2**20
NAMED = 10
"""How many refused files a warning names; `skipped` holds them all."""


class ImageFolder(Dataset[tuple[str, Tensor]]):
    """Images of folders or catalogued sets, sorted by name: `(name, float tensor (3, H, W) in [0, 1])`.

    Files that are no usable image are left out when the folder is opened: they are named in one warning and
    in `skipped`. If a file is lost or damaged later, the next sound image takes its place and a warning
    names the file.

    Decoded 8-bit images are kept in memory up to `cache_mb` MiB, in order of name; further ones are decoded
    at each use. Forked workers share that memory. Spawned ones cannot, so each fills an equal part of it
    for itself.

    Args:
        folder: path or catalogue name, or several of them; wildcards as in `catalog.locate`.
        root: the data root; default NIC_DATA, else ./data.
        cache_mb: bound of the memory for decoded images, MiB for each process that trains.
        limit: keep only the first images.
        crop: side of a centre crop in pixels; None keeps images whole.

    Raises:
        DataError: unknown set, missing folder, or not one usable image.
    """

    def __init__(
        self,
        folder: str | Path | Sequence[str | Path],
        root: str | Path | None = None,
        *,
        cache_mb: int = 0,
        limit: int | None = None,
        crop: int | None = None,
    ) -> None:
        specs = [folder] if isinstance(folder, str | Path) else list(folder)
        if not specs:
            raise DataError("No folder of images was given: name at least one folder or data set.")
        sources = [locate(spec, root) for spec in specs]
        self.name = "+".join(source.name for source in sources)
        self.crop = crop
        self.skipped: list[str] = [link for source in sources for link in source.refused]
        self.changed: dict[str, list[str]] = {}
        """Files that lost something when they were read, by what was done to them (`images.Changes`)."""
        self._budget = cache_mb * MIB
        self._cache: dict[int, Pixels] = {}
        self._cached_bytes = 0
        named = _named(sources)
        self._files: list[tuple[str, Path]] = []
        self.sizes: list[tuple[int, int]] = []
        self._open(named, len(named) if limit is None else limit)
        if not self._files:
            raise DataError(f"There is no usable image in {self.name!r}: {self._account()}.")
        if self.skipped:
            log.warning("%s: left out %s.", self.name, self._account())
        for change, files in self.changed.items():
            log.warning("%s: %s in %s.", self.name, change, _some(files, len(self)))
        _warn_if_partial(sources)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:
        """Name and image; a lost file's place is taken by the next image, under that image's own name."""
        if not 0 <= index < len(self):  # what ends a `for` loop over the images
            raise IndexError(f"{self.name} has {len(self)} images; there is no image {index}.")
        found, pixels = self._read(index)
        if self.crop is not None:
            pixels = center_crop(pixels, self.crop)
        return self._files[found][0], to_tensor(pixels)

    @property
    def names(self) -> list[str]:
        """Names in order; unique, without folder separators."""
        return [name for name, _ in self._files]

    @property
    def paths(self) -> list[Path]:
        """Files in the order of `names`."""
        return [path for _, path in self._files]

    @property
    def cached(self) -> tuple[int, int]:
        """Images held in memory, and their bytes."""
        return len(self._cache), self._cached_bytes

    def pixels(self, index: int) -> Pixels:
        """The image as 8-bit RGB, shape (H, W, 3); shared memory, not to be written to."""
        return self._read(index)[1]

    def _open(self, named: list[tuple[str, Path]], limit: int) -> None:
        """Decode images while there is room to keep them, then only probe the rest; a few at a time."""
        threads = min(4, os.cpu_count() or 1)
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for start in range(0, len(named), threads):
                part = named[start : start + threads]
                keep = self._cached_bytes < self._budget
                for item, result in zip(part, pool.map(_examine, part, [keep] * len(part)), strict=True):
                    if len(self._files) == limit:
                        return
                    self._add(item, result)

    def _add(self, item: tuple[str, Path], found: tuple[Pixels | tuple[int, int], Changes] | str) -> None:
        if isinstance(found, str):
            self.skipped.append(f"{item[1]}: {found}")
            return
        result, changes = found
        for change in changes:
            self.changed.setdefault(change, []).append(item[1].name)
        if isinstance(result, np.ndarray):
            self._keep(len(self._files), result)
            result = (result.shape[0], result.shape[1])
        self._files.append(item)
        self.sizes.append(result)

    def _keep(self, index: int, pixels: Pixels) -> None:
        if self._cached_bytes + pixels.nbytes <= self._budget:
            self._cache[index] = pixels
            self._cached_bytes += pixels.nbytes

    def _read(self, index: int) -> tuple[int, Pixels]:
        count = len(self._files)
        for offset in range(count):
            place = (index + offset) % count
            if place in self._cache:
                return place, self._cache[place]
            path = self._files[place][1]
            try:
                pixels = read_rgb(path)
            except (UnreadableImage, OSError) as error:
                reason = error.reason if isinstance(error, UnreadableImage) else str(error)
                self.skipped.append(f"{path}: {reason}")
                log.warning("%s became unusable (%s); the next image takes its place.", path, reason)
                continue
            self._keep(place, pixels)
            return place, pixels
        raise DataError(f"All {count} images of {self.name!r} became unusable: is the folder still there?")

    def _account(self) -> str:
        more = len(self.skipped) - NAMED
        rest = f" and {more} more" if more > 0 else ""
        files = "1 file" if len(self.skipped) == 1 else f"{len(self.skipped)} files"
        return f"{files} ({'; '.join(self.skipped[:NAMED])}{rest})"

    def __getstate__(self) -> dict[str, Any]:
        """Without the images: a spawned worker decodes its own, instead of a gigabyte through a pipe."""
        return self.__dict__ | {"_cache": {}, "_cached_bytes": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        worker = get_worker_info()
        if worker is not None:
            self._budget //= worker.num_workers


class RandomCrops(Dataset[Tensor]):
    """Random square crops, float tensors (3, crop, crop) in [0, 1], indexed by `EpochSampler`'s pairs.

    The image is index modulo their number, and the crop's place follows from (seed, epoch, index) alone,
    whatever the number of workers, the order and the batch size. Images smaller than the crop are padded by
    reflection.
    """

    def __init__(self, images: ImageFolder, crop: int, seed: int, *, flip: bool = False) -> None:
        self.images = images
        self.crop = crop
        self.seed = seed
        self.flip = flip

    def __getitem__(self, index: tuple[int, int]) -> Tensor:
        epoch, sample = index
        pixels = self.images.pixels(sample % len(self.images))
        return to_tensor(random_crop(pixels, self.crop, self.seed, epoch, sample, flip=self.flip))


def evaluation_set(name_or_folder: str | Path, root: str | Path | None = None) -> ImageFolder:
    """Whole images of a catalogued set ("kodak", "embedded", ...) or of any folder.

    Raises:
        DataError: unknown set, missing folder, or not one usable image.
    """
    return ImageFolder(name_or_folder, root)


def _examine(item: tuple[str, Path], keep: bool) -> tuple[Pixels | tuple[int, int], Changes] | str:
    """The decoded image, or its (H, W) if it was only probed, and what it lost; or the reason why it is refused."""
    try:
        return read_image(item[1]) if keep else probe_image(item[1])
    except UnreadableImage as error:
        return error.reason


def _some(files: list[str], count: int) -> str:
    """How many files of how many, and the first of them."""
    more = len(files) - NAMED
    names = ", ".join(files[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{len(files)} of {count} images: {names}"


def _named(sources: list[Located]) -> list[tuple[str, Path]]:
    """(name, file) sorted by name: the file's stem, or its path joined by "_" where stems repeat."""
    folders = {folder for source in sources for folder in source.folders}
    files = list(dict.fromkeys(path for source in sources for path in source.files))
    stems = Counter(path.stem for path in files)
    named: dict[str, Path] = {}
    for path in files:
        base = max((f for f in folders if path.is_relative_to(f)), key=lambda f: len(f.parts))
        parts = path.relative_to(base).parts
        name = path.stem if stems[path.stem] == 1 else "_".join((base.name, *parts))
        unique, copy = name, 2
        while unique in named:
            unique, copy = f"{name}_{copy}", copy + 1
        named[unique] = path
    return sorted(named.items())


def _warn_if_partial(sources: list[Located]) -> None:
    for source in sources:
        if source.expected is not None and len(source.files) < source.expected:
            log.warning("%s is partial: %d of %d images.", source.name, len(source.files), source.expected)
