"""Folders of files of any medium, as evaluations measure them, and folders of images as they open them. No torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nic_lightning.data.catalog import find_root, locate
from nic_lightning.data.cloud_sets import CLOUD_SETS, locate_clouds
from nic_lightning.data.places import folders_of
from nic_lightning.errors import DataError, UserError
from nic_lightning.media.base import DEFAULT, Medium, all_media

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
_NAMED = 10
"""How many refused files a warning names."""


class FileSet(Sequence["tuple[str, Tensor]"]):
    """Files of one medium in a folder and below it, sorted by name: `(name, input (1, ...))`, read at each use.

    Files that are none of the medium are left out, and one warning names them. Names are paths below the folder, with
    "_" between their parts.

    Raises:
        DataError: missing folder, or not one file of the medium.
    """

    def __init__(self, folder: str | Path, medium: Medium, root: str | Path | None = None) -> None:
        files, refused = _files(str(folder), medium, root)
        if not files:
            why = f": {refused[0]}" if refused else "."
            raise DataError(f"There are no {medium.items} in {folder}{why}")
        if refused:
            more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
            log.warning("%s: left out %s%s", folder, " ".join(refused[:_NAMED]), more)
        self._files, self._handler = files, medium.handler()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        name, path = self._files[index]
        return name, self._handler.read(path)[0]


def require_set(name: str, root: str | Path | None = None) -> None:
    """Raise DataError for what is neither a set of images or clouds nor a folder with files of another medium."""
    if name.partition("/")[0] in CLOUD_SETS:
        locate_clouds(name, root)
        return
    try:
        locate(name, root)
    except DataError:
        others = (medium for medium in all_media() if medium.name != DEFAULT)
        if not any(_files(name, medium, root)[0] for medium in others):
            raise


def _files(folder: str, medium: Medium, root: str | Path | None) -> tuple[list[tuple[str, Path]], list[str]]:
    """(name, file) of what the medium takes, and a sentence for each other file. Links are not followed."""
    found: list[tuple[str, Path]] = []
    refused: list[str] = []
    for base in folders_of(folder, find_root(root)):
        for place, folders, files in os.walk(base):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in (Path(place) / name for name in sorted(files) if not name.startswith(".")):
                try:
                    if path.is_symlink():
                        raise DataError(f"{path} is a link, which is not followed.")
                    medium.look(path)
                except UserError as error:
                    refused.append(str(error))
                else:
                    found.append(("_".join(path.relative_to(base).with_suffix("").parts), path))
    return sorted(found), refused
