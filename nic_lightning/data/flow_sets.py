"""Data sets with true optical flow, in the folders that their authors ship: Sintel, KITTI, Middlebury. No torch needed.

| name | folders below the data root | the frame before |
|---|---|---|
| sintel_final, sintel_clean | sintel/training/{final,clean,flow,occlusions,invalid} | but for a sequence's first |
| kitti2012 | kitti2012/training/{colored_0,flow_occ,flow_noc} | in the multi-view extension |
| kitti2015 | kitti2015/training/{image_2,flow_occ,flow_noc} | in the multi-view extension |
| middlebury, middlebury_gray | middlebury/{other-data,other-data-gray,other-gt-flow} | of six sequences |

Parts of a set are read as they are. A frame that is missing is never replaced by a copy of another one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nic_lightning.data.catalog import ROOT_IS_SET_BY, find_root
from nic_lightning.data.images import Pixels, read_rgb
from nic_lightning.errors import DataError
from nic_lightning.flow.io import Flow, known, read_flow
from nic_lightning.targets import alternatives

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Truth:
    """What is known of an item's flow."""

    flow: Flow
    """(H, W, 2) in pixels, NaN where unknown."""
    occluded: Mask | None
    """(H, W), where the pixel is not seen in the next frame; None: the set does not say."""
    invalid: Mask | None
    """(H, W), pixels of Sintel whose flow its authors do not trust; None: the set does not say."""


@dataclass(frozen=True)
class FlowItem:
    """A frame with its neighbours in time and its true flow, all still in files."""

    scene: str
    name: str
    """Unique in the set."""
    previous: Path | None
    current: Path
    next: Path
    after: Path | None
    """The frame after the next one, which strategy 4 looks at."""
    flow: Path
    occlusions: Path | None = None
    """A picture, not black where occluded (Sintel) ..."""
    visible: Path | None = None
    """... or the flow of visible pixels alone (KITTI)."""
    invalid: Path | None = None

    @property
    def has_previous(self) -> bool:
        """Whether three frames can be matched."""
        return self.previous is not None

    def frames(self) -> tuple[Pixels | None, Pixels, Pixels, Pixels | None]:
        """Previous, current and next frame and the one after, uint8 (H, W, 3); DataError where sizes differ."""
        current = read_rgb(self.current)

        def other(path: Path | None) -> Pixels | None:
            image = None if path is None else read_rgb(path)
            if image is not None and image.shape != current.shape:
                raise DataError(f"{path} and {self.current} are frames of one scene and differ in size.")
            return image

        following = other(self.next)
        assert following is not None
        return other(self.previous), current, following, other(self.after)

    def truth(self) -> Truth:
        """The true flow and its masks; DataError for damaged files, or masks of another size."""
        flow = read_flow(self.flow)
        occluded = None if self.occlusions is None else read_rgb(self.occlusions).any(-1)
        if self.visible is not None:
            occluded = known(flow) & ~known(_same_size(read_flow(self.visible), flow, self.visible))
        invalid = None if self.invalid is None else read_rgb(self.invalid).any(-1)
        for mask, path in ((occluded, self.occlusions), (invalid, self.invalid)):
            if mask is not None and path is not None:
                _same_size(mask, flow, path)
        return Truth(flow, occluded, invalid)


@dataclass(frozen=True)
class FlowSet:
    """The items of a data set, scene by scene."""

    name: str
    folder: Path
    items: tuple[FlowItem, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[FlowItem]:
        return iter(self.items)

    @property
    def without_previous(self) -> int:
        """How many items have no frame before, so that only two frames can be matched."""
        return sum(not item.has_previous for item in self.items)


def flow_set(name: str, root: str | Path | None = None) -> FlowSet:
    """A data set by its name, below `root`, the environment's NIC_DATA or ./data.

    Raises:
        DataError: there is no such set, or its folder is missing or holds no frame with true flow.
    """
    name = {"sintel": "sintel_final"}.get(name, name)
    if name not in SETS:
        raise DataError(f"There is no flow data set {name!r}{alternatives(name, SETS)}.")
    source, base = SETS[name], find_root(root)
    folder = _folder(source, base)
    if folder is None:
        missing = base / source.folders[0] / "training" / source.marker
        raise DataError(
            f"{name} is not there: {missing} is missing; get it from {source.source}, or set the data root by "
            f"{ROOT_IS_SET_BY}."
        )
    items = tuple(source.read(folder, source.marker))
    if not items:
        raise DataError(f"There is no frame of {name} with true flow in {folder}.")
    found = FlowSet(name, folder, items)
    if name.startswith("kitti") and found.without_previous:
        log.warning(
            "%s: %d of %d items have no frame before (%s/*_09.png, of the multi-view extension); these are matched "
            "with two frames.",
            name,
            found.without_previous,
            len(found),
            folder / source.marker,
        )
    return found


def _sintel(folder: Path, marker: str) -> Iterator[FlowItem]:
    for flow in sorted((folder / "flow").glob("*/*.flo")):
        scene = flow.parent.name
        number = re.fullmatch(r"frame_(\d{4})", flow.stem)
        frames = folder / marker / scene
        if number is None or not (frames / f"{flow.stem}.png").is_file():
            continue
        previous, current, following, after = (
            frames / f"frame_{int(number[1]) + step:04d}.png" for step in (-1, 0, 1, 2)
        )
        yield FlowItem(
            scene,
            f"{scene}_{number[1]}",
            _if_there(previous),
            current,
            _needed(following),
            _if_there(after),
            flow,
            occlusions=_if_there(folder / "occlusions" / scene / current.name),
            invalid=_if_there(folder / "invalid" / scene / current.name),
        )


def _kitti(folder: Path, marker: str) -> Iterator[FlowItem]:
    for flow in sorted((folder / "flow_occ").glob("*_10.png")):
        scene = flow.stem.removesuffix("_10")
        previous, current, following, after = (folder / marker / f"{scene}_{n:02d}.png" for n in (9, 10, 11, 12))
        if current.is_file():
            visible = _if_there(folder / "flow_noc" / flow.name)
            frames = (_if_there(previous), current, _needed(following), _if_there(after))
            yield FlowItem(scene, scene, *frames, flow, visible=visible)


def _middlebury(folder: Path, marker: str) -> Iterator[FlowItem]:
    for flow in sorted((folder / "other-gt-flow").glob("*/flow10.flo")):
        scene = flow.parent.name
        previous, current, following, after = (folder / marker / scene / f"frame{n:02d}.png" for n in (9, 10, 11, 12))
        if current.is_file():
            yield FlowItem(scene, scene, _if_there(previous), current, _needed(following), _if_there(after), flow)


@dataclass(frozen=True)
class _Source:
    """How a set is read, and where it comes from."""

    read: Callable[[Path, str], Iterator[FlowItem]]
    folders: tuple[str, ...]
    """Names that its folder may have below the data root."""
    marker: str
    """Folder of its frames in there."""
    count: int
    """Pairs with true flow in the complete set."""
    licence: str
    source: str


_SINTEL = ("sintel", "Sintel", "MPI-Sintel-complete")
_SINTEL_SOURCE = (1041, "CC BY 3.0 (Blender Foundation)", "http://sintel.is.tue.mpg.de")
_KITTI_SOURCE = ("CC BY-NC-SA 3.0", "https://www.cvlibs.net/datasets/kitti")
_MIDDLEBURY_SOURCE = (8, "not stated", "https://vision.middlebury.edu/flow/data")
SETS = {
    "sintel_final": _Source(_sintel, _SINTEL, "final", *_SINTEL_SOURCE),
    "sintel_clean": _Source(_sintel, _SINTEL, "clean", *_SINTEL_SOURCE),
    "kitti2012": _Source(_kitti, ("kitti2012", "data_stereo_flow", "kitti"), "colored_0", 194, *_KITTI_SOURCE),
    "kitti2015": _Source(_kitti, ("kitti2015", "data_scene_flow", "kitti"), "image_2", 200, *_KITTI_SOURCE),
    "middlebury": _Source(_middlebury, ("middlebury",), "other-data", *_MIDDLEBURY_SOURCE),
    "middlebury_gray": _Source(_middlebury, ("middlebury",), "other-data-gray", *_MIDDLEBURY_SOURCE),
}


def flow_rows(base: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Of each set: name, pairs with true flow below `base`, "unknown" checksums, licence and source; opens no file."""
    for name, each in SETS.items():
        folder = _folder(each, base)
        try:
            found = 0 if folder is None else sum(1 for _ in each.read(folder, each.marker))
            at_hand = f"{found} of {each.count}"
        except DataError:
            at_hand = f"cut, of {each.count}"
        yield name, at_hand, "unknown", each.licence, each.source


def _folder(known: _Source, base: Path) -> Path | None:
    """Where the set lies below `base`."""
    places = (base / folder / level for folder in known.folders for level in ("training", ""))
    return next((place for place in places if (place / known.marker).is_dir()), None)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _needed(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"The frame {path} is missing, though there is true flow to it.")
    return path


def _same_size(mask: NDArray, flow: Flow, path: Path) -> NDArray:
    if mask.shape[:2] != flow.shape[:2]:
        raise DataError(f"{path} and the true flow it belongs to differ in size.")
    return mask
