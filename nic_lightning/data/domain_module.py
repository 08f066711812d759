"""Training and validation images of several domains for the trainer, as image-to-image translation takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.data.domains import DomainFolders, Translations, WholeImages


class DomainDataModule(ImageDataModule):
    """Sources and pairs of references of several domains, in an order that a resumed run continues exactly.

    Training batches are `Translation`s of tensors: images (N, 3, size, size) in [0, 1] and labels (N,). Validation
    batches are such images and their labels, domain after domain.

    Args:
        train: folder with a folder for each domain.
        validation: the same for validation; None where there is none.
        root: the data root; default NIC_DATA, else ./data.
        domains: names of the domains, in the order of their labels; None: all, sorted.
        size: side of the square images in pixels.
        batch_size: sources in a batch of one rank.
        workers: as of `ImageDataModule`.
        samples_per_epoch: samples in an epoch over all ranks; None: as many as there are images.
        seed: all samples follow from it.
        cache_mb: MiB of decoded images to keep in memory for each rank.

    Raises:
        DataError: in `setup`, for what `DomainFolders` refuses, and where the domains of both folders differ.
    """

    def __init__(
        self,
        train: str,
        validation: str | None = None,
        root: str | None = None,
        domains: list[str] | None = None,
        size: int = 256,
        batch_size: int = 8,
        workers: int | None = None,
        samples_per_epoch: int | None = None,
        seed: int = 0,
        cache_mb: int = 4096,
    ) -> None:
        super().__init__(train, None, root, size, batch_size, workers, samples_per_epoch, seed, cache_mb)
        self.domains, self.validation_folder = domains, validation
        self.validation_folders: DomainFolders | None = None

    def setup(self, stage: str | None = None) -> None:
        """Open the folders."""
        if self.train_images is None:
            folders = DomainFolders(self.train[0], self.root, self.domains, self.cache_mb)
            if self.validation_folder is not None:
                self.validation_folders = DomainFolders(self.validation_folder, self.root, folders.domains, least=1)
            self._say_what_was_opened(folders)
            self.train_images = folders

    @property
    def validation_name(self) -> str:
        """The last two folders of the validation set's path: `val` alone says little."""
        return "_".join(Path(self.validation_folder or "none").parts[-2:])

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Every rank sees its own share of the validation images; all of them where there are fewer than ranks."""
        if self.validation_folders is None:
            return []
        images, ranks = WholeImages(self.validation_folders, self.crop), self._world_size()
        indices = range(self._rank(), len(images), ranks) if len(images) >= ranks else range(len(images))
        options = self._loader_options(self.validation_folders)
        return DataLoader(images, batch_size=self.batch_size, sampler=list(indices), **options)

    def _training_set(self, images: DomainFolders) -> Translations:
        return Translations(images, self.crop, self.seed)
