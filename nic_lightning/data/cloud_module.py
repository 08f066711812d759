"""Training and validation clouds for the trainer, with an order that survives a restart exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nic_lightning.data.cloud_sets import (
    SAMPLED,
    SAMPLING_SEED,
    LabelledClouds,
    held_out,
    locate_clouds,
    random_subset,
)
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.errors import DataError

_FIXED = 2**32 - 1
"""In the place of an epoch: subsets that stay the same."""


class Clouds(Dataset["tuple[Tensor, int]"]):
    """Subsets of `points` points of some clouds of a split; an index is (epoch, number), or a number for fixed ones."""

    def __init__(self, clouds: LabelledClouds, chosen: np.ndarray, points: int, seed: int) -> None:
        self.name, self._clouds, self._chosen, self._points, self._seed = clouds.name, clouds, chosen, points, seed

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def cached(self) -> tuple[int, int]:
        """All clouds are in memory: how many, and their bytes."""
        return len(self), self._clouds.points.nbytes

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """Points of every cloud, once more as a height."""
        return [(1, self._clouds.points.shape[1])] * len(self)

    def __getitem__(self, index: tuple[int, int] | int) -> tuple[Tensor, int]:
        epoch, number = (_FIXED, index) if isinstance(index, int) else index
        _, points, label = self._clouds[int(self._chosen[number % len(self)])]
        subset = random_subset(points, self._points, [self._seed, epoch, number])
        return torch.from_numpy(subset), label


class CloudDataModule(ImageDataModule):
    """Labelled clouds: a new random subset of each in every epoch, the same subsets at every validation.

    Batches are (x, labels): clouds (N, points, 3), float32, centred and in the unit sphere, and class numbers (N,).

    Args:
        set: name of a set, or a folder with its layout (`data/cloud_sets.py`).
        classes: names of the classes in the order of their labels; None takes what the set says.
        root: the data root; default NIC_DATA, else ./data.
        points: points of a training or validation cloud, 8 to 1,024 in the paper.
        batch_size: clouds in a batch of one rank.
        validation_fraction: of each class's training clouds that are kept for validation.
        paper_protocol: validate on the test split, as the paper does; then nothing is left to measure on.
        sampled: points that surfaces are sampled at, once.
        workers: as of `ImageDataModule`.
        samples_per_epoch: clouds in an epoch over all ranks; None: each once.
        seed: what is held out, all subsets and their order follow from it.

    Raises:
        DataError: in `setup`, for missing or damaged data, and classes that are not those of the set.
    """

    def __init__(
        self,
        set: str,
        classes: Sequence[str] | None = None,
        root: str | None = None,
        points: int = 1024,
        batch_size: int = 32,
        validation_fraction: float = 0.1,
        paper_protocol: bool = False,
        sampled: int = SAMPLED,
        workers: int | None = None,
        samples_per_epoch: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(set, None, root, points, batch_size, workers, samples_per_epoch, seed)
        if not 0 <= validation_fraction < 1:
            raise DataError(f"data.validation_fraction is {validation_fraction:g}; give a part, 0 to below 1.")
        self.classes, self.sampled = None if classes is None else list(classes), sampled
        self.validation_fraction, self.paper_protocol = validation_fraction, paper_protocol
        self.validation_clouds: Clouds | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the splits that are needed."""
        if self.train_images is not None:
            return
        train = self._open("train")
        if self.paper_protocol:
            test = self._open("test")
            chosen, validated = np.arange(len(train)), Clouds(test, np.arange(len(test)), self.crop, self.seed)
        else:
            chosen, kept = held_out(train.labels, self.validation_fraction, self.seed)
            validated = Clouds(train, kept, self.crop, self.seed)
        self.validation_clouds = validated if len(validated) and self.validation_fraction else None
        self.train_images = Clouds(train, chosen, self.crop, self.seed)

    def _open(self, split: str) -> LabelledClouds:
        found = LabelledClouds(locate_clouds(self.train[0], self.root, split), self.sampled, SAMPLING_SEED)
        if self.classes is not None and tuple(self.classes) != found.classes:
            raise DataError(
                f"data.classes are not those of {found.name}: it has {len(found.classes)}, "
                f"{', '.join(found.classes)[:300]}."
            )
        return found

    @property
    def validation_name(self) -> str:
        """The set's, and what of it."""
        name = self.validation_clouds.name if self.validation_clouds is not None else Path(self.train[0]).name
        return f"{name}_test" if self.paper_protocol else f"{name}_held_out"

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Every rank sees its own share of the validation clouds; all of them where there are fewer than ranks."""
        clouds, ranks = self.validation_clouds, self._world_size()
        if clouds is None:
            return []
        indices = range(self._rank(), len(clouds), ranks) if len(clouds) >= ranks else range(len(clouds))
        return DataLoader(clouds, batch_size=self.batch_size, sampler=list(indices), **self._loader_options(clouds))

    def _training_set(self, images: Clouds) -> Clouds:
        return images
