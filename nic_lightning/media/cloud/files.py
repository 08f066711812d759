"""Read point clouds and meshes that may be hostile: bounded memory, and a reason for each file refused. No torch."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nic_lightning.errors import UserError
from nic_lightning.media.cloud import arrays, off, ply
from nic_lightning.media.cloud.arrays import Hdf5Clouds
from nic_lightning.media.cloud.sampling import SAMPLED, normalised, sample_surface
from nic_lightning.media.cloud.shape import MAX_BYTES, Refused, Shape, UnreadableCloud

_HDF5, _NPY = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY"
_TEXT = (".xyz", ".txt", ".pts", ".csv", ".asc")
KINDS = "OFF, PLY, NPY, HDF5 and text of three numbers a line"


def read_cloud(path: Path, count: int = SAMPLED, seed: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    """A file's points (P, 3), float32, centred and in the unit sphere, and what was done beside that.

    A mesh is sampled at `count` points. Raises UnreadableCloud: not a regular file, not a cloud of a known kind, cut,
    damaged, too large, or a cloud that says nothing.
    """
    try:
        return _points_of(_shape(path), count, seed)
    except Refused as error:
        raise UnreadableCloud(path, str(error)) from error


def read_clouds(path: Path) -> Sequence[np.ndarray] | None:
    """The clouds of a file that holds several, not normalised; None for a file of one cloud."""
    if path.is_dir() or _kind(path) != "hdf5":
        return None
    try:
        return Hdf5Clouds(path)  # pyright: ignore[reportReturnType]
    except Refused as error:
        raise UnreadableCloud(path, str(error)) from error


def require_cloud(path: Path) -> None:
    """Raise UnreadableCloud for a file whose beginning is none of a cloud; a folder may hold some."""
    if path.is_dir():
        if not list_clouds(path):
            raise UnreadableCloud(path, "a folder without point clouds")
        return
    _kind(path)


def list_clouds(folder: Path) -> list[Path]:
    """Files of a folder that begin like clouds, by name; links and sub-folders are left out."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink() or path.is_dir():
            continue
        try:
            _kind(path)
        except UserError:
            continue
        found.append(path)
    return found


def _kind(path: Path) -> str:
    """Which reader takes a file, by its first bytes; of text by its ending."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableCloud(path, "a folder; name the clouds in it")
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise UnreadableCloud(path, "not a regular file")
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
        raise UnreadableCloud(path, reason) from error
    if not head:
        raise UnreadableCloud(path, "an empty file")
    for beginning, kind in ((_HDF5, "hdf5"), (_NPY, "npy"), (b"ply", "ply")):
        if head.startswith(beginning):
            return kind
    if path.suffix.lower() == ".off" or off.BEGINNING.match(head):
        return "off"
    if path.suffix.lower() in _TEXT:
        return "xyz"
    raise UnreadableCloud(path, f"not a point cloud of a known kind; read are {KINDS}")


def _shape(path: Path) -> Shape:
    kind = _kind(path)
    if kind == "npy":
        return arrays.read_npy(path)
    if kind == "hdf5":
        clouds = Hdf5Clouds(path)
        if len(clouds) != 1:
            raise Refused(f"it holds {len(clouds):,} clouds, not one")
        return Shape(clouds[0])
    if path.stat().st_size > MAX_BYTES[kind]:
        raise Refused(f"{path.stat().st_size:,} bytes, the limit is {MAX_BYTES[kind]:,}")
    parse = {"off": off.parse, "ply": ply.parse, "xyz": arrays.parse_xyz}[kind]
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise Refused(str(error.strerror or error)) from error


def _points_of(shape: Shape, count: int, seed: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if shape.triangles is None:
        return normalised(shape.points), ()
    if not np.isfinite(shape.points).all():
        raise Refused("it has coordinates that are NaN or infinite")
    done = f"sampled {count:,} points of its {len(shape.triangles):,} triangles"
    return normalised(sample_surface(shape, count, seed)), (done,)
