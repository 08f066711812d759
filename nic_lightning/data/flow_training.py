"""The data module that trains the flow's features: moving photographs, and data sets with true flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import DataLoader

from nic_lightning.data.datamodule import ImageDataModule, default_workers
from nic_lightning.data.datasets import ImageFolder
from nic_lightning.data.flow_crops import FlowCrops, FlowScenes, FlowSource
from nic_lightning.data.flow_sets import SETS, FlowItem, flow_set
from nic_lightning.errors import DataError


class FlowDataModule(ImageDataModule):
    """Crops of three frames with their matches, in an order that a resumed run continues exactly.

    Training batches are `FlowCrop`s, validation batches one `Scene` each. Scenes that are trained on are never
    validated on.

    Args:
        photographs: folders or catalogue names of photographs that are set in motion, or one of them.
        sets: data sets with true flow, names of `flow_sets.SETS`.
        held_out: scenes of these that are not trained on.
        set_repeats: how often a frame of the sets is shown for each photograph.
        validation: a data set with true flow, or photographs that are set in motion; None for no validation.
        root: the data root; default NIC_DATA, else ./data.
        ratio: full-size pixels to one of the working scale; features are to be used at the scale they were trained at.
        crop: side of the crops, in pixels of the working scale.
        largest: shifts of photographs and things in front of them, in full-size pixels.
        unsteady: by how much their speed changes from one pair of frames to the next, as a part of it.
        batch_size: crops in a batch of one rank.
        workers: as of `ImageDataModule`.
        samples_per_epoch: crops in an epoch over all ranks; None: one of each photograph and frame.
        validation_limit: validate on the first scenes only.
        validation_side: of scenes to validate on that are made from photographs, in full-size pixels.
        seed: all samples follow from it.
        cache_mb: MiB of photographs to keep in memory, and as many of frames, for each rank.

    Raises:
        DataError: in `setup`, for missing data, or where nothing is left to train or to validate on.
    """

    def __init__(
        self,
        photographs: str | Sequence[str] = (),
        sets: Sequence[str] = (),
        held_out: Sequence[str] = (),
        set_repeats: int = 1,
        validation: str | None = None,
        root: str | None = None,
        ratio: int = 3,
        crop: int = 32,
        largest: float = 24.0,
        unsteady: float = 0.1,
        batch_size: int = 8,
        workers: int | None = None,
        samples_per_epoch: int | None = None,
        validation_limit: int | None = None,
        validation_side: int = 288,
        seed: int = 0,
        cache_mb: int = 1024,
    ) -> None:
        super().__init__(
            photographs,
            validation,
            root,
            crop,
            batch_size,
            workers,
            samples_per_epoch,
            seed,
            cache_mb,
            validation_limit=validation_limit,
        )
        if min(ratio, set_repeats, validation_side // (9 * max(ratio, 1))) < 1 or largest < 0 or not 0 <= unsteady < 1:
            raise DataError(
                "data.ratio and data.set_repeats are at least 1, data.validation_side is at least 9 ratios, "
                "data.largest at least 0, and data.unsteady lies in [0, 1); they are "
                f"{ratio}, {set_repeats}, {validation_side}, {largest:g} and {unsteady:g}."
            )
        self.sets, self.held_out, self.set_repeats = list(sets), list(held_out), set_repeats
        self.validation_side = validation_side
        self.ratio, self.motion = ratio, {"largest": largest, "unsteady": unsteady}
        self.validation_scenes: FlowScenes | None = None

    @property
    def validation_name(self) -> str:
        """The validation set's name in metrics."""
        return (self.validation or "none").rpartition("/")[2]

    def setup(self, stage: str | None = None) -> None:
        """Find frames, open photographs."""
        if self.train_images is not None:
            return
        items = [item for name in self.sets for item in flow_set(name, self.root)]
        missing = sorted(set(self.held_out) - {item.scene for item in items})
        if missing:
            scenes = ", ".join(sorted({item.scene for item in items})) or "none"
            raise DataError(f"There is no scene {missing[0]!r} to hold out; the data sets have {scenes}.")
        items = [item for item in items if item.scene not in self.held_out]
        if not items and not self.train:
            raise DataError("There is nothing to train on: give data.photographs, or data.sets with true flow.")
        photographs = ImageFolder(self.train, self.root, cache_mb=self.cache_mb) if self.train else None
        processes = default_workers() if self.workers is None else self.workers
        share = self.cache_mb // max(1, processes)  # each keeps the frames that it has used
        source = FlowSource(photographs, items, self.set_repeats, self.ratio, share)
        if self.validation is not None:
            self.validation_scenes = self._scenes_to_validate({item.scene for item in items})
        self._say_what_was_opened(source)
        self.train_images = source

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Scenes one at a time; every rank sees its own share, or all where there are fewer than ranks."""
        scenes, ranks = self.validation_scenes, self._world_size()
        if scenes is None:
            return []
        count = min(len(scenes), self.validation_limit or len(scenes))
        indices = range(self._rank(), count, ranks) if count >= ranks else range(count)
        options = self._loader_options(scenes)  # pyright: ignore[reportArgumentType]
        return DataLoader(scenes, batch_size=None, sampler=list(indices), collate_fn=_as_it_is, **options)

    def _scenes_to_validate(self, trained: set[str]) -> FlowScenes:
        assert self.validation is not None
        if self.validation not in SETS:
            photographs = ImageFolder(self.validation, self.root, cache_mb=self.cache_mb // 4)
            return FlowScenes(photographs, [], self.validation_side, **self.motion)
        found: list[FlowItem] = [i for i in flow_set(self.validation, self.root) if i.scene not in trained]
        if not found:
            raise DataError(
                f"All scenes of {self.validation} are trained on: name some in data.held_out, or another "
                "data.validation."
            )
        return FlowScenes(None, found)

    def _training_set(self, images: Any) -> FlowCrops:
        return FlowCrops(images, self.crop, self.seed, **self.motion)

    def _say_what_is_in_memory(self, images: Any) -> None:
        """Frames are kept when they are used, so nothing is to be said of them yet."""
        if images.photographs is not None:
            super()._say_what_is_in_memory(images.photographs)

    def _order_depends_on(self) -> dict[str, int]:
        return super()._order_depends_on() | {"ratio": self.ratio}


def _as_it_is(scene: Any) -> Any:
    """Lightning would make tensors of its arrays."""
    return scene
