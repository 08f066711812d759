"""Data sets of labelled point clouds, in the folders that their authors ship. No torch needed.

| name | below the data root |
|---|---|
| modelnet10, modelnet40 | ModelNet10, ModelNet40: CLASS/{train,test}/*.off, whose surfaces are sampled |
| modelnet40_h5 | modelnet40_ply_hdf5_2048: ply_data_{train,test}*.h5, shape_names.txt |
| furniture | pointclouds: sh3d_furniture_{train,test}.h5, sh3d_shape_names.txt |

A folder of one's own in one of the two layouts is a set, too. Sampled surfaces are kept as one array beside the set,
where that can be written.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nic_lightning.data.catalog import ROOT_IS_SET_BY, find_root
from nic_lightning.errors import DataError, counted
from nic_lightning.media.cloud.arrays import Hdf5Clouds
from nic_lightning.media.cloud.files import read_cloud
from nic_lightning.media.cloud.sampling import normalised
from nic_lightning.media.cloud.shape import Refused, UnreadableCloud
from nic_lightning.targets import alternatives

log = logging.getLogger(__name__)
SPLITS = ("train", "test")
SAMPLED, SAMPLING_SEED = 8192, 1234
"""Points of a surface, and their seed, as the paper has them."""
_MAX_NAMES = 1 << 20


@dataclass(frozen=True)
class CloudSetEntry:
    """One set that has a name."""

    name: str
    folder: str
    """Below the data root."""
    source: str
    licence: str
    count: int
    """Clouds of both splits."""


CLOUD_SETS: Mapping[str, CloudSetEntry] = {
    entry.name: entry
    for entry in (
        CloudSetEntry("modelnet10", "ModelNet10", "https://modelnet.cs.princeton.edu", "academic use", 4899),
        CloudSetEntry("modelnet40", "ModelNet40", "https://modelnet.cs.princeton.edu", "academic use", 12311),
        CloudSetEntry(
            "modelnet40_h5", "modelnet40_ply_hdf5_2048", "https://shapenet.cs.stanford.edu", "academic use", 12308
        ),
        CloudSetEntry(
            "furniture", "pointclouds", "meshes of Debian's sweethome3d-furniture, sampled", "CC BY 3.0, CC0", 423
        ),
    )
}


@dataclass(frozen=True)
class CloudFiles:
    """Where a split of a set lies, nothing of it read yet."""

    name: str
    split: str
    classes: tuple[str, ...]
    """Their names, in the order of the labels; of a set that names none, empty."""
    arrays: tuple[Path, ...] = ()
    """HDF5 files with labels ..."""
    meshes: tuple[tuple[Path, int], ...] = ()
    """... or files of one cloud or mesh each, with theirs."""


def locate_clouds(spec: str, root: str | Path | None = None, split: str | None = None) -> CloudFiles:
    """Find a split of a set by name, "furniture" or "furniture/train", or by its folder; "test" where none is named.

    Raises DataError for an unknown name, a folder that is missing, or one without that split.
    """
    text, _, named = spec.rpartition("/")
    if named in SPLITS and text:
        spec, split = text, split or named
    split = split or "test"
    known = CLOUD_SETS.get(spec)
    places = [find_root(root) / known.folder] if known else [find_root(root) / spec, Path(spec)]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise DataError(
            f"The folder {places[0]} of data set {spec!r} is missing"
            + (f": get it from {known.source}" if known else alternatives(spec, sorted(CLOUD_SETS)))
            + f", or name another data root with {ROOT_IS_SET_BY}."
        )
    name = spec if known else folder.name
    arrays = tuple(sorted(folder.glob(f"*{split}*.h5")))
    if arrays:
        return CloudFiles(name, split, _shape_names(folder), arrays=arrays)
    classes = tuple(sorted(path.parent.name for path in folder.glob(f"*/{split}") if path.is_dir()))
    meshes = tuple(
        (path, label)
        for label, kind in enumerate(classes)
        for path in sorted((folder / kind / split).iterdir())
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    )
    if not meshes:
        raise DataError(f"{folder} has no split {split!r}: neither *{split}*.h5 nor CLASS/{split} with files in it.")
    return CloudFiles(name, split, classes, meshes=meshes)


def _shape_names(folder: Path) -> tuple[str, ...]:
    for path in sorted(folder.glob("*shape_names.txt")):
        if path.stat().st_size <= _MAX_NAMES:
            return tuple(path.read_text(errors="replace").split())
    return ()


class LabelledClouds(Sequence["tuple[str, np.ndarray, int]"]):
    """A split of a set: (name, points (P, 3) float32 centred and in the unit sphere, label), all in memory.

    Args:
        files: what `locate_clouds` found.
        sampled: points that surfaces are sampled at.
        seed: of the sampling.

    Raises:
        DataError: a file that cannot be read, has no labels, or labels that are none of the classes.
    """

    def __init__(self, files: CloudFiles, sampled: int = SAMPLED, seed: int = SAMPLING_SEED) -> None:
        self.name, self.split = files.name, files.split
        if files.arrays:
            self.names, self.points, self.labels = _read_arrays(files)
        else:
            self.names = [f"{files.classes[label]}_{path.stem}" for path, label in files.meshes]
            self.labels = np.array([label for _, label in files.meshes], dtype=np.int64)
            self.points = _sampled(files, sampled, seed)
        most = int(self.labels.max(initial=0))
        self.classes = files.classes or tuple(f"class {number}" for number in range(most + 1))
        if self.labels.min(initial=0) < 0 or most >= len(self.classes):
            raise DataError(f"{self.name}: label {most} is none of its {len(self.classes)} classes.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray, int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.names[index], self.points[index], int(self.labels[index])


def _read_arrays(files: CloudFiles) -> tuple[list[str], np.ndarray, np.ndarray]:
    names: list[str] = []
    points, labels = [], []
    for path in files.arrays:
        try:
            clouds = Hdf5Clouds(path)
            if clouds.labels is None:
                raise Refused("it has no labels")
            labels.append(clouds.labels)
            points += [normalised(cloud) for cloud in clouds]
        except Refused as error:
            raise UnreadableCloud(path, str(error)) from error
        names += [f"{path.stem}_{number:05d}" for number in range(len(clouds))]
    if len({len(cloud) for cloud in points}) != 1:
        raise DataError(f"{files.name}: its files hold no clouds, or clouds of different numbers of points.")
    return names, np.stack(points), np.concatenate(labels)


def _sampled(files: CloudFiles, count: int, seed: int) -> np.ndarray:
    """Surfaces of all meshes as points (N, count, 3), read from where an earlier run has put them."""
    folder = files.meshes[0][0].parents[2]
    facts = [(str(path.relative_to(folder)), path.stat().st_size) for path, _ in files.meshes]
    key = hashlib.sha256(repr((facts, count, seed)).encode()).hexdigest()[:16]
    kept, shape = folder / f".nic_{files.split}_{key}.npy", (len(facts), count, 3)
    if kept.is_file():
        try:
            found = np.load(kept, allow_pickle=False)
            if found.shape == shape and found.dtype == np.float32:
                return found
        except (ValueError, OSError, EOFError):
            log.warning("%s is damaged and made anew.", kept)
    log.info("%s: sampling %s, once; this takes a while.", files.name, counted(len(facts), "surface"))
    points = np.stack([_of_count(path, count, seed, number) for number, (path, _) in enumerate(files.meshes)])
    part = kept.with_suffix(".part.npy")
    try:
        np.save(part, points)
        part.replace(kept)
    except OSError:
        log.info("%s: sampled points are not kept, %s cannot be written.", files.name, folder)
    return points


def _of_count(path: Path, count: int, seed: int, number: int) -> np.ndarray:
    """A surface's points; of a cloud its own, repeated or thinned out to so many."""
    points, _ = read_cloud(path, count, seed + number)
    return points if len(points) == count else random_subset(points, count, [seed, number])


def random_subset(points: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray:
    """`count` points of a cloud (P, 3) that follow from the seed; some are taken twice where it has fewer."""
    draw = np.random.default_rng(seed)
    order = [draw.permutation(len(points)) for _ in range(-(-count // len(points)))]
    return points[np.concatenate(order)[:count]]


def held_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on and to validate on: of each class a part, at least one cloud where it has two or more."""
    draw = np.random.default_rng(seed)
    validation: list[int] = []
    for label in np.unique(labels):
        own = draw.permutation(np.flatnonzero(labels == label))
        validation += own[: max(round(fraction * len(own)), int(len(own) > 1))].tolist()
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[validation] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def cloud_rows(root: Path) -> Iterator[tuple[str, ...]]:
    """Lines of `nic data list`: name, clouds that were found, checksums, licence, source."""
    for known in CLOUD_SETS.values():
        places = (root / known.folder).is_dir()
        yield known.name, "a folder" if places else f"0 of {known.count}", "unknown", known.licence, known.source
