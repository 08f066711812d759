"""Training crops and validation images for the trainer, with an order that survives a restart exactly."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nic_lightning.data.datasets import MIB, ImageFolder, RandomCrops
from nic_lightning.data.sampler import EpochSampler
from nic_lightning.errors import DataError, counted

log = logging.getLogger(__name__)
_Images = TypeVar("_Images")


class Images(Protocol):
    """What the module asks of the images that it trains on."""

    name: str

    def __len__(self) -> int: ...

    @property
    def cached(self) -> tuple[int, int]:
        """Images held in memory, and their bytes."""
        ...

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """(H, W) of every image."""
        ...


class ResumableLoader(DataLoader[Tensor]):
    """A loader whose place in the epoch is kept by `ImageDataModule`, since only that knows the trainer.

    Its two empty methods tell the trainer that the place is restored; it would warn at each restart if not.
    """

    def state_dict(self) -> dict[str, int]:
        """Nothing: see `ImageDataModule.state_dict`."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Nothing to restore here."""


class ImageDataModule(pl.LightningDataModule):
    """Random crops of image folders to train on, whole images to validate on.

    Training batches are float tensors (N, 3, crop, crop) in [0, 1], RGB. Validation batches are `(names,
    x)` with one name and x of shape (1, 3, H, W). Use it with `Trainer(use_distributed_sampler=False)`: the
    sampler deals out the samples to the ranks itself, and its place in the epoch is saved in the
    checkpoint, so that a resumed run sees the samples that an uninterrupted one would have seen (same batch
    size, ranks and data assumed; else it says so).

    Args:
        train: folders or catalogue names, or one of them; wildcards as in `catalog.locate`.
        validation: folder or catalogue name; None for no validation.
        root: the data root; default NIC_DATA, else ./data.
        crop: side of the training crops in pixels.
        batch_size: crops in a batch of one rank.
        workers: loader processes; None takes 0 where all images are in memory or there are at most two
            cores, else half the cores up to 4.
        samples_per_epoch: crops in an epoch over all ranks; None takes one from each image.
        seed: all crops and their order follow from it.
        cache_mb: MiB of decoded images to keep in memory, training and validation together, for each rank.
        flip: mirror every second crop at random.
        validation_crop: side of a centre crop of the validation images; None keeps them whole.
        validation_limit: validate on the first images only.

    Raises:
        DataError: in `setup`, for missing or unusable data, or fewer samples in an epoch than a batch
        takes.
    """

    def __init__(
        self,
        train: str | Sequence[str],
        validation: str | None,
        root: str | None = None,
        crop: int = 240,
        batch_size: int = 8,
        workers: int | None = None,
        samples_per_epoch: int | None = None,
        seed: int = 0,
        cache_mb: int = 1024,
        flip: bool = False,
        validation_crop: int | None = None,
        validation_limit: int | None = None,
    ) -> None:
        super().__init__()
        _require_positive(crop=crop, batch_size=batch_size, samples_per_epoch=samples_per_epoch)
        _require_positive(validation_crop=validation_crop, validation_limit=validation_limit)
        self.train = [train] if isinstance(train, str) else [str(spec) for spec in train]
        self.validation = validation
        self.root = root
        self.crop = crop
        self.batch_size = batch_size
        self.workers = workers
        self.samples_per_epoch = samples_per_epoch
        self.seed = seed
        self.cache_mb = cache_mb
        self.flip = flip
        self.validation_crop = validation_crop
        self.validation_limit = validation_limit
        self.train_images: Images | None = None
        self.validation_images: ImageFolder | None = None
        self.repeat_epoch = False
        """Whether every epoch shows the crops of the first one, in its order: to overfit a few batches."""
        self._restored: dict[str, int] | None = None

    @property
    def validation_name(self) -> str:
        """The validation set's name in metrics."""
        if self.validation_images is not None:
            return self.validation_images.name
        return Path(self.validation or "none").name

    def setup(self, stage: str | None = None) -> None:
        """Open the folders that the stage needs."""
        if self.validation is not None and self.validation_images is None and stage != "test":
            self.validation_images = ImageFolder(
                self.validation,
                self.root,
                cache_mb=self.cache_mb // 4,
                limit=self.validation_limit,
                crop=self.validation_crop,
            )
        if self.train_images is None and stage in (None, "fit"):
            used = self.validation_images.cached[1] if self.validation_images is not None else 0
            images = ImageFolder(self.train, self.root, cache_mb=max(0, self.cache_mb - -(-used // MIB)))
            self._say_what_was_opened(images)
            self.train_images = images

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Crops in this epoch's order, from where a restored run stopped."""
        images = _opened(self.train_images)
        sampler = self._sampler()
        if len(sampler) < self.batch_size:
            raise DataError(
                f"An epoch has {len(sampler)} samples for each rank, less than the batch size "
                f"{self.batch_size}: raise data.samples_per_epoch or lower data.batch_size."
            )
        self._continue(sampler)
        return ResumableLoader(
            self._training_set(images),
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=True,
            **self._loader_options(images),
        )

    def _training_set(self, images: Any) -> Dataset[Any]:
        """What the sampler's pairs index."""
        return RandomCrops(images, self.crop, self.seed, flip=self.flip)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Validation images one at a time, in order of name; every rank sees its own share of them.

        Where there are fewer images than ranks, every rank sees all: none may be without, and the mean is the same.
        """
        if self.validation is None:
            return []
        images = _opened(self.validation_images)
        ranks = self._world_size()
        indices = range(self._rank(), len(images), ranks) if len(images) >= ranks else range(len(images))
        return DataLoader(
            images,
            batch_size=1,
            sampler=list(indices),
            collate_fn=_with_names,
            **self._loader_options(images),
        )

    def state_dict(self) -> dict[str, int]:
        """Batches that this rank has been through, and what their order depends on."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        # The epoch begun last, not the epochs done: one that `max_steps` cut counts as done, too.
        # And `processed`, since `completed` still lacks the current batch while a callback saves at its end.
        started = loop.epoch_progress.current.started  # pyright: ignore[reportAttributeAccessIssue]
        return {
            "epoch": max(started - 1, 0),
            "batch": loop.epoch_loop.batch_progress.current.processed,  # pyright: ignore[reportAttributeAccessIssue]
            **self._order_depends_on(),
        }

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Keep the place until the loader is built."""
        self._restored = dict(state_dict) or None

    def _continue(self, sampler: EpochSampler) -> None:
        if self._restored is None:
            return
        state, self._restored = self._restored, None
        changed = [key for key, value in self._order_depends_on().items() if state.get(key, value) != value]
        if changed:
            log.warning("The resumed run sees other samples than before: %s changed.", ", ".join(changed))
        batches = len(sampler) // self.batch_size
        epoch, batch = state.get("epoch", 0), state.get("batch", 0)
        if batch >= batches:  # saved at the end of an epoch
            epoch, batch = epoch + 1, 0
        sampler.epoch, sampler.start = epoch, batch * self.batch_size

    def _order_depends_on(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "crop": self.crop,
            "batch_size": self.batch_size,
            "samples_per_epoch": self._samples(),
            "images": len(_opened(self.train_images)),
            "world_size": self._world_size(),
        }

    def _sampler(self) -> EpochSampler:
        images = len(_opened(self.train_images))
        return EpochSampler(
            images, self._samples(), self.seed, self._rank(), self._world_size(), repeat=self.repeat_epoch
        )

    def _samples(self) -> int:
        return self.samples_per_epoch or len(_opened(self.train_images))

    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _loader_options(self, images: Images) -> dict[str, Any]:
        in_memory = images.cached[0] == len(images)  # then a crop costs less than its way from another process
        workers = (0 if in_memory else default_workers()) if self.workers is None else self.workers
        # A generator of its own keeps every loader from drawing on the global random state.
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "prefetch_factor": 4 if workers > 0 else None,
            "pin_memory": torch.cuda.is_available(),
            "generator": torch.Generator().manual_seed(self.seed),
        }

    def _say_what_was_opened(self, images: Images) -> None:
        self._say_what_is_in_memory(images)
        small = sum(min(size) < self.crop for size in images.sizes)
        if small:
            log.warning(
                "%s: %s smaller than the crop of %d pixels and padded by reflection.",
                *(images.name, counted(small, "image", "is/are"), self.crop),
            )

    def _say_what_is_in_memory(self, images: Images) -> None:
        count, size = images.cached
        log.info("%s: %s, %d in memory (%d MiB).", images.name, counted(len(images), "image"), count, size // MIB)
        if count < len(images) and self.cache_mb:
            log.warning(
                "%s: %d of %d images fit into %d MiB of memory, the others are decoded for each crop: raise "
                "data.cache_mb or data.workers if the loader is slow.",
                *(images.name, count, len(images), self.cache_mb),
            )


def default_workers() -> int:
    """Loader processes: 0 on up to two cores, which training needs itself, else half the cores up to 4."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores <= 2 else min(4, cores // 2)


def _with_names(samples: list[tuple[str, Tensor]]) -> tuple[list[str], Tensor]:
    names, images = zip(*samples, strict=True)
    return list(names), torch.stack(images)


def _opened(images: _Images | None) -> _Images:
    if images is None:
        raise DataError("The data is not open yet: call setup('fit') before asking for a loader.")
    return images


def _require_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise DataError(f"data.{name} has to be at least 1, not {value}.")
