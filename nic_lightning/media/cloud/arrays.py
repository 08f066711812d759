"""Clouds that are arrays of numbers: XYZ text, NPY, and HDF5 in the layout of ModelNet's point clouds."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.errors import UserError
from nic_lightning.media.cloud.shape import Floats, Refused, Shape, numbers, require_counts

_MAX_CLOUDS = 1 << 20
_MAX_CHUNK = 1 << 28
"""Bytes of a part that HDF5 unpacks as a whole: a few bytes of a hostile file may stand for any number of zeros."""
_AT_A_TIME = 1 << 20
"""Points that are read at a time."""


def parse_xyz(data: bytes) -> Shape:
    """Lines of three numbers and perhaps more, separated by blanks, commas or semicolons; "#" begins a comment."""
    lines = [re.sub(rb"[,;]", b" ", re.split(rb"#|//", line)[0]).split() for line in data.splitlines()]
    rows = [words for words in lines if words]
    require_counts(len(rows))
    if any(len(words) < 3 for words in rows):
        raise Refused("a line has fewer than three numbers")
    return Shape(numbers(b" ".join(b" ".join(words[:3]) for words in rows), 3 * len(rows), "points").reshape(-1, 3))


def read_npy(path: Path) -> Shape:
    """An array (P, 3) of numbers, or (P, C) of which the first three columns are taken."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise Refused(f"a damaged NPY file, or one of Python objects ({str(error)[:80]})") from None
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise Refused(f"an array {array.shape} of {array.dtype}, where (points, 3) numbers are read")
    require_counts(len(array))
    return Shape(np.array(array[:, :3], dtype=np.float64))


class Hdf5Clouds:
    """Clouds (P, 3) and labels of a file with `data` (N, P, 3) and perhaps `label` (N,) or (N, 1), read one by one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as file:
            data = _dataset(file, "data")
            if data is None or data.ndim != 3 or data.shape[2] < 3 or data.dtype.kind not in "fiu":
                raise Refused("its 'data' are no numbers (clouds, points, 3)")
            self._count, points = int(data.shape[0]), int(data.shape[1])
            require_counts(points)
            self._together = max(1, _AT_A_TIME // max(1, points))
            label = _dataset(file, "label")
            if label is not None and (label.dtype.kind not in "iu" or label.size != self._count <= _MAX_CLOUDS):
                raise Refused("its 'label' are not one whole number for each cloud")
            if self._count > _MAX_CLOUDS:
                raise Refused(f"{self._count:,} clouds, where {_MAX_CLOUDS:,} are the most")
            self.labels = None if label is None else np.asarray(label[()]).reshape(-1).astype(np.int64)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Floats:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._read(slice(index, index + 1))[0]

    def __iter__(self) -> Iterator[Floats]:
        """All clouds, some read at a time."""
        for first in range(0, self._count, self._together):
            yield from self._read(slice(first, first + self._together))

    def _read(self, chosen: slice) -> Floats:
        """Several clouds (n, P, 3), float64."""
        with self._opened() as file:
            return np.asarray(file["data"][chosen, :, :3], dtype=np.float64)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        h5py = _h5py()
        try:
            with h5py.File(self._path, "r") as file:
                yield file
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise Refused(f"a damaged HDF5 file ({' '.join(str(error).split())[:80]})") from None


def _h5py() -> Any:
    if importlib.util.find_spec("h5py") is None:
        raise UserError("HDF5 files need the package h5py: pip install 'nic_lightning[clouds]'.")
    import h5py

    return h5py


def _dataset(file: Any, name: str) -> Any:
    """A data set in the file itself, in parts that fit into memory: links and other files' data are not followed."""
    h5py = _h5py()
    if name not in file:
        return None
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise Refused(f"its {name!r} is a link or a group, which is not followed")
    if file[name].is_virtual or file[name].external:
        raise Refused(f"its {name!r} lies in other files, which are not read")
    if file[name].chunks is not None and math.prod(file[name].chunks) * file[name].dtype.itemsize > _MAX_CHUNK:
        raise Refused(f"its {name!r} is packed in parts of more than {_MAX_CHUNK:,} bytes")
    return file[name]
