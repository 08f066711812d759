"""Data sets to evaluate on, by the medium of the codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.data.cloud_sets import CLOUD_SETS, LabelledClouds, locate_clouds
from nic_lightning.data.datasets import ImageFolder, evaluation_set
from nic_lightning.data.domains import resized
from nic_lightning.data.file_sets import FileSet
from nic_lightning.errors import DataError, UserError
from nic_lightning.media.base import DEFAULT, Medium
from nic_lightning.media.cloud.result import Labelled
from nic_lightning.media.image.memory import to_tensor

EvaluationSet = Sequence[Sequence[Any]]
"""Pairs of name and input; a third value is what results are compared with, where that is not the input."""


class Squares(Sequence["tuple[str, Tensor]"]):
    """The images of a folder made into squares of `side` pixels, as translation takes them."""

    def __init__(self, images: ImageFolder, side: int) -> None:
        self._images, self._side = images, side

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._images.names[index], to_tensor(resized(self._images.pixels(index), self._side))


def open_sets(
    names: Sequence[str], medium: Medium, root: str | Path | None = None, side: int | None = None
) -> dict[str, EvaluationSet]:
    """Data sets of a medium by name, or folders of its files; with `side` all images become squares of so many pixels.

    Then NAME_SIDEpx is what a set is called. Raises DataError for a set that is missing or holds nothing of the medium,
    UserError for a side that makes no sense.
    """
    if side is None:
        return {name: _OPEN.get(medium.name, _files)(name, medium, root) for name in names}
    if side < 1:
        raise UserError(f"evaluation.side is {side}; give a number of pixels, or null for images as they are.")
    if medium.name != DEFAULT:
        raise UserError(f"evaluation.side makes squares of images, not of {medium.items}: leave it out.")
    return {f"{name}_{side}px": Squares(evaluation_set(name, root), side) for name in names}


def _images(name: str, medium: Medium, root: str | Path | None) -> Any:
    return evaluation_set(name, root)


def _files(name: str, medium: Medium, root: str | Path | None) -> Any:
    return FileSet(name, medium, root)


class LabelledInputs(Sequence["tuple[str, Tensor, Labelled]"]):
    """The clouds of a split, and what results are compared with: their points and the class."""

    def __init__(self, clouds: LabelledClouds) -> None:
        self._clouds = clouds

    def __len__(self) -> int:
        return len(self._clouds)

    def __getitem__(self, index: int) -> tuple[str, Tensor, Labelled]:  # pyright: ignore[reportIncompatibleMethodOverride]
        name, points, label = self._clouds[index]
        x = torch.from_numpy(points)[None]
        return name, x, Labelled(x, label)


def _clouds(name: str, medium: Medium, root: str | Path | None) -> Any:
    try:
        files = locate_clouds(name, root)
    except DataError:
        if name in CLOUD_SETS:
            raise
        return FileSet(name, medium, root)
    return LabelledInputs(LabelledClouds(files))


_OPEN: Mapping[str, Callable[[str, Medium, str | Path | None], Any]] = {DEFAULT: _images, "cloud": _clouds}
"""How the sets of a medium are opened, where they are more than folders of files."""
