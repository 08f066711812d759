"""The studies of `nic-analyze`, from settings to rows and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nic_lightning.analysis.latent_motion.codec_motion import Pair, error_rows, flow_pair, rate_rows, shift_rows
from nic_lightning.analysis.latent_motion.features import Features
from nic_lightning.analysis.latent_motion.frames import MovedFrames
from nic_lightning.analysis.latent_motion.measure import Row, curve_rows, histogram_rows
from nic_lightning.analysis.latent_motion.motion import PIXELS, Affine, AffineMotion, Mask, grid_places
from nic_lightning.analysis.latent_motion.networks import analysis_features
from nic_lightning.analysis.latent_motion.pictures import (
    Fields,
    Matching,
    Panel,
    estimated_fields,
    field_error,
    panels,
)
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.loading import load_codec
from nic_lightning.data.datasets import ImageFolder
from nic_lightning.data.flow_sets import FlowItem, flow_set
from nic_lightning.errors import UserError, choices
from nic_lightning.media.image.memory import to_tensor

STUDIES = ("curves", "histogram", "panels", "fields", "codec_motion")
PAIRS = "sintel_final"
"""Where the study codec_motion finds true motion if nothing is named."""
SAMPLE_MOTION = Affine(translate_x=8, translate_y=-8)
"""Of the frames of the study "fields" that are cut from a photograph."""


@dataclass(frozen=True)
class Settings:
    """Of conf/analyze.yaml, which says what each is."""

    images: str = "embedded"
    root: str | None = None
    limit: int | None = None
    size: int = 224
    mask: Mask = "paper"
    batch: int = 16
    seed: int = 0
    samples: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, Sequence[float]] = field(default_factory=dict)
    draws: int = 2048
    layer: str | None = None
    matching: Matching = field(default_factory=Matching)
    pairs: str | None = None
    pair_limit: int | None = None
    shifts: int = 33
    points: Sequence[str] | None = None


class Drawn(NamedTuple):
    """What a figure shows, by its kind."""

    kind: Literal["fields", "panels"]
    layer: str
    fields: Fields | None = None
    truth: NDArray[np.float32] | None = None
    panels: Sequence[Panel] = ()


Say = Callable[[str], None]


class Study:
    """All studies of one network: each gives rows of the table, and perhaps something to draw.

    Args:
        features: the network.
        settings: of the run.
        run: where the network is the analysis of a trained codec, its run folder, checkpoint or export.
        say: takes a line about what is done.
    """

    def __init__(self, features: Features, settings: Settings, run: str | None, say: Say) -> None:
        self.features, self.settings, self.run, self._say = features, settings, run, say
        self.drawn: list[Drawn] = []
        self._scenes: list[tuple[str, MovedFrames]] | None = None
        self._set = settings.images

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of one of `STUDIES`, complete but for what the run is called."""
        made: Iterable[Row] = getattr(self, f"_{name}")()
        codec = name == "codec_motion"
        for row in made:
            field = self.features.geometry.get(row.get("layer", ""), PIXELS)
            place = {"stride": field.stride, "offset": field.offset, "receptive_field": field.size}
            common = {"study": name, "network": self.features.name, "mask": "interior" if codec else self.settings.mask}
            yield common | {"dataset": self._set} | place | row

    def scenes(self) -> list[tuple[str, MovedFrames]]:
        """The photographs by name, ready to be moved."""
        if self._scenes is None:
            folder = ImageFolder(self.settings.images, self.settings.root, limit=self.settings.limit)
            self._set = folder.name
            self._scenes = [(name, MovedFrames(photo, self.settings.size)) for name, photo in folder]
        return self._scenes

    def layer(self) -> str:
        """That of panels and fields; UserError where the network has no such one."""
        known, wanted = self.features.layers, self.settings.layer
        if wanted is None:
            return known[(len(known) - 1) // 2]
        if wanted not in known:
            raise UserError(f"layer={wanted} is none of the layers of the analysis; {choices(wanted, known)}.")
        return wanted

    def _curves(self) -> Iterator[Row]:
        s = self.settings
        for scene in self.scenes():
            yield from curve_rows(self.features, scene, dict(s.samples), dict(s.limits), s.mask, s.batch)
            self._say(f"curves: {scene[0]}")

    def _histogram(self) -> Iterator[Row]:
        s, last = self.settings, None
        for row in histogram_rows(self.features, self.scenes(), s.draws, s.seed, s.mask, s.batch):
            if row["item"] != last:
                last = row["item"]
                self._say(f"histogram: {last}")
            yield row

    def _panels(self) -> Iterator[Row]:
        frames = self.scenes()[0][1]
        found = list(panels(self.features, self.layer(), frames, self.settings.mask))
        self.drawn.append(Drawn("panels", self.layer(), panels=found))
        yield from ()

    def _fields(self) -> Iterator[Row]:
        """Rows of the mean end-point error of each field, in pixels, and what a figure of the first pair shows."""
        layer = self.layer()
        for number, (item, first, second, truth) in enumerate(self._frame_pairs()):
            found = estimated_fields(self.features, layer, first, second, self.settings.matching)
            if number == 0:
                self.drawn.append(Drawn("fields", layer, found, truth))
            near, wide = self.settings.matching.radius, self.settings.matching.latent_radius
            error = field_error(found.in_frame, truth, PIXELS, near)
            yield {"item": item, "layer": "frame", "way": "all", "epe": error}
            error = field_error(found.in_layer, truth, found.geometry, wide)
            yield {"item": item, "layer": layer, "way": "all", "epe": error}
            for channel, one in found.in_channels:
                error = field_error(one, truth, found.geometry, wide)
                yield {"item": item, "layer": layer, "way": f"channel {channel}", "epe": error}
            self._say(f"fields: {item}")

    def _frame_pairs(self) -> Iterator[tuple[str, torch.Tensor, torch.Tensor, NDArray[np.float32]]]:
        """Names, two frames (1, 3, H, W), and the true motion from the first to the second (H, W, 2)."""
        size = self.settings.size
        if self.settings.pairs is None:
            for item, frames in self.scenes()[: self.settings.pair_limit]:
                forward = AffineMotion([SAMPLE_MOTION], frames.size)
                shift = torch.tensor([SAMPLE_MOTION.translate_x, SAMPLE_MOTION.translate_y])
                truth = shift.expand(*grid_places(*frames.size).shape).numpy().astype(np.float32)
                yield item, frames.reference, frames.moved(forward), truth
            return
        for item in self._flow_items(self.settings.pairs):
            _, current, following, _ = item.frames()
            top, left = (max(0, (n - size) // 2) for n in current.shape[:2])
            cut = slice(top, top + size), slice(left, left + size)
            yield item.name, to_tensor(current[cut])[None], to_tensor(following[cut])[None], item.truth().flow[cut]

    def _codec_motion(self) -> Iterator[Row]:
        codec, s = self._codec(), self.settings
        points = [codec.point(label) for label in s.points] if s.points else list(codec.operating_points)
        by_point = {point: analysis_features(codec, point, self._layers()) for point in points}
        for item in self._flow_items(s.pairs or PAIRS):
            pair = _pair_of(item, codec)
            for point, features in by_point.items():
                for row in error_rows(features, pair):
                    yield row | {"motion": "flow", "label": point.label}
                for row in rate_rows(codec, point, pair):
                    yield row | {"motion": "flow"}
            if s.shifts:
                point = points[len(points) // 2]
                photo = to_tensor(item.frames()[1])
                shifted = shift_rows(codec, point, by_point[point], photo, item.name, range(s.shifts), s.size)
                yield from ({"label": point.label} | row for row in shifted)
            self._say(f"codec_motion: {item.name}")

    def _codec(self) -> LearnedCodec:
        if self.run is None:
            raise UserError("study=codec_motion is of a trained codec: give network=codec network.run=RUN.")
        return load_codec(self.run)

    def _layers(self) -> Sequence[str]:
        return self.features.layers

    def _flow_items(self, name: str) -> Sequence[FlowItem]:
        self._set = name
        return flow_set(name, self.settings.root).items[: self.settings.pair_limit]


def _pair_of(item: FlowItem, codec: LearnedCodec) -> Pair:
    _, current, following, _ = item.frames()
    truth = item.truth()
    masks = [torch.from_numpy(mask) for mask in (truth.occluded, truth.invalid) if mask is not None]
    hidden = torch.stack(masks).any(0) if masks else None
    frames = to_tensor(current), to_tensor(following)
    return flow_pair(item.name, *frames, torch.from_numpy(truth.flow), hidden, codec.downsampling)
