"""Optical flow by discrete matching: DCFlow, TIMCflow and the thesis' simplified pipeline, which differ in settings.

```
frames -> features -> cost volume of two or three frames -> [bilateral filter] -> semi-global matching -> labels
labels -> [which to keep] -> [interpolation, or scaling up] -> [variational refinement] -> flow
```
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nic_lightning.errors import DataError
from nic_lightning.flow import consistency
from nic_lightning.flow.cost_volume import costs_at, match, mirror_border
from nic_lightning.flow.features import FeatureNetwork, Frame, extract
from nic_lightning.flow.filtering import filter_costs
from nic_lightning.flow.interpolation import interpolate
from nic_lightning.flow.refinement import refine
from nic_lightning.flow.scaling import scale_up
from nic_lightning.flow.semi_global_matching import semi_global_matching, winner_takes_all
from nic_lightning.flow.settings import FlowConfig
from nic_lightning.flow.triple import add_forward, backward_costs, triple_cost_volume


@dataclass
class Result:
    """Flow of one frame, and what was made on the way.

    Attributes:
        flow: (H, W, 2) float32 in pixels, x to the right, y down; NaN where unknown.
        stages: by name: "labels" (h, w, 2) int16; of a strategy "backward" or "other" labels, "forward_cost" and
            "backward_cost" (h, w) uint8, "kept" (h, w) bool; "matches" (n, 4); "dense", the flow before refinement;
            "volume" and "filtered" (h, w, n, n) uint8 where `Pipeline(keep_volumes=True)`.
        seconds: of each step, (wall, processor).
    """

    flow: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 2), np.float32))
    stages: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of the block to a step."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        before = self.seconds.get(step, (0.0, 0.0))
        self.seconds[step] = (before[0] + time.perf_counter() - wall, before[1] + time.process_time() - processor)


@dataclass(frozen=True)
class Window:
    """The frames that one flow is made of: from `current` to `following`."""

    previous: Frame | None
    current: Frame
    following: Frame
    after: Frame | None = None

    def __post_init__(self) -> None:
        frames = (self.previous, self.current, self.following, self.after)
        shapes = {frame.original.shape for frame in frames if frame is not None}
        if len(shapes) > 1:
            sizes = " and ".join(sorted(f"{width}x{height}" for height, width, _ in shapes))
            raise DataError(f"The frames of a sequence have to be of one size, but there are {sizes}.")


class Pipeline:
    """Flow from triples or sequences of frames; keeps its volumes for the next ones, since new memory costs seconds.

    Args:
        config: what to do.
        network: the features; read from `config.weights_file()` if not given.
        keep_volumes: copy the volumes, each a gigabyte for Sintel, into `Result.stages`.
    """

    def __init__(
        self, config: FlowConfig, network: FeatureNetwork | None = None, *, keep_volumes: bool = False
    ) -> None:
        self.config = config
        self.network = network or FeatureNetwork.from_file(config.weights_file())
        self.keep_volumes = keep_volumes
        self._buffers: dict[str, np.ndarray] = {}

    def run(
        self,
        previous: np.ndarray | None,
        current: np.ndarray,
        following: np.ndarray,
        after: np.ndarray | None = None,
    ) -> Result:
        """Flow from `current` to `following`.

        Args:
            previous: the frame before, or None at the start of a sequence, where two frames have to do.
            current: (H, W, 3) RGB, uint8 or float32 in [0, 1].
            following: the next frame.
            after: the one after that; only the strategy "three_frames" uses it.

        Raises:
            DataError: a frame is no such image, or not of the size of the others.
        """
        result = Result()
        window = Window(
            None if previous is None else self._frame(previous, result),
            self._frame(current, result),
            self._frame(following, result),
            None if after is None else self._frame(after, result),
        )
        return self._flow(window, result)

    def sequence(self, frames: Iterable[np.ndarray]) -> Iterator[Result]:
        """Flow from each frame to the next, one result less than frames; at most four frames are held.

        The features of a frame and the costs of a pair are computed once: the pair (t, t + 1) gives the forward costs
        of t and the backward costs of t + 1.
        """
        ahead = self.config.strategy == "three_frames"
        carry = not self.config.two_frames and not ahead
        held: list[Frame] = []
        result, carried = Result(), False
        for image in frames:
            held.append(self._frame(image, result))
            if len(held) < 2 + ahead:
                continue
            yield self._flow(_latest(held, ahead), result, carry, carried)
            result, carried, held = Result(), carry, held[-2 - ahead :]
        if ahead and len(held) >= 2:
            yield self._flow(_latest(held, False), result)

    def _frame(self, image: np.ndarray, result: Result) -> Frame:
        with result.timed("features"):
            return extract(self.network, image, self.config.ratio)

    def _flow(self, window: Window, result: Result, carry: bool = False, carried: bool = False) -> Result:
        """Flow of one window. `carry` keeps its pair's costs for the next one, `carried` has those of the last."""
        config = self.config
        result.stages["labels"] = self._labels(window, result, carry, carried)
        if config.strategy != "none":
            result.stages["kept"] = self._keep(window, result)
        with result.timed("interpolation"):
            result.flow = result.stages["dense"] = self._dense(window, result.stages)
        if config.refinement is not None:
            with result.timed("refinement"):
                images = window.current.original, window.following.original
                result.flow = refine(*images, result.flow, **config.refinement)
        return result

    def _labels(self, window: Window, result: Result, carry: bool, carried: bool) -> np.ndarray:
        """Labels of the current frame; where a strategy or the next frame needs them, the costs "reverse" besides."""
        config, previous, current, following = self.config, window.previous, window.current, window.following
        n = 2 * self._radius(window) + 1
        shape = (*current.luma.shape, n, n)
        if carried and self._buffers["reverse"].shape == shape:
            self._buffers["volume"], self._buffers["reverse"] = self._buffers["reverse"], self._buffers["volume"]
        else:
            carried = False
        volume, reverse = self._buffer("volume", shape), None
        if carry or config.strategy in ("check", "by_cost", "three_frames"):
            reverse = self._buffer("reverse", shape)
        with result.timed("cost volume"):
            if previous is None or config.two_frames:
                match(current.features, following.features, n // 2, volume, reverse)
            else:
                if not carried:
                    backward_costs(previous.features, current.features, n // 2, volume)
                add_forward(volume, current.features, following.features, config.lambdas, reverse)
        return self._optimise(volume, current, result)

    def _optimise(self, volume: np.ndarray, frame: Frame, result: Result, backward: bool = False) -> np.ndarray:
        """Border, filter and labels of a raw volume, which changes. Backward flow, of a check, is never filtered."""
        config = self.config
        mirror_border(volume)
        if self.keep_volumes and not backward:
            result.stages["volume"] = volume.copy()
        if config.cost_filter is not None and not backward:
            with result.timed("filter"):
                filter_costs(volume, frame.image, config.cost_filter)
            if self.keep_volumes:
                result.stages["filtered"] = volume.copy()
        with result.timed("semi-global matching"):
            if config.smoothness is None:
                return winner_takes_all(volume, backward)
            sums = self._buffer("sums", volume.shape, np.uint16)
            return semi_global_matching(volume, frame.luma, config.smoothness, sums, backward)

    def _keep(self, window: Window, result: Result) -> np.ndarray:
        """The mask of the configured strategy; its flows and costs go to the stages."""
        config, stages, labels = self.config, result.stages, result.stages["labels"]
        if config.strategy == "large_regions":
            return consistency.keep_large_regions(labels)
        if config.strategy == "two_weightings":
            stages["other"] = self._other_labels(window, result)
            return consistency.keep_agreeing(labels, stages["other"])
        reverse = self._buffers["reverse"]
        if config.strategy == "three_frames" and window.after is not None:
            with result.timed("cost volume"):
                add_forward(reverse, window.following.features, window.after.features, config.lambdas)
        stages["backward"] = self._optimise(reverse, window.following, result, backward=True)
        if config.strategy != "by_cost":
            return consistency.keep(labels, stages["backward"], unique=config.unique)
        costs = stages["forward_cost"] = costs_at(window.current.features, window.following.features, labels)
        others = stages["backward_cost"] = np.full_like(costs, 255)
        if window.previous is not None:
            others[:] = costs_at(window.current.features, window.previous.features, -labels)
        return consistency.keep_by_cost(labels, stages["backward"], costs, others, unique=config.unique)

    def _other_labels(self, window: Window, result: Result) -> np.ndarray:
        """Labels with the other weights of the triple cost, in the place of the volume."""
        volume = self._buffers["volume"]
        with result.timed("cost volume"):
            previous = None if window.previous is None else window.previous.features
            features = previous, window.current.features, window.following.features
            triple_cost_volume(*features, volume.shape[2] // 2, self.config.other_lambdas, volume)
        return self._optimise(volume, window.current, result)

    def _dense(self, window: Window, stages: dict[str, np.ndarray]) -> np.ndarray:
        """Labels, where they are kept, as flow of the full size."""
        config, labels, image = self.config, stages["labels"], window.current.original
        kept = stages.get("kept")
        if config.interpolation != "none":
            kept = np.ones(labels.shape[:2], bool) if kept is None else kept
            stages["matches"] = consistency.matches(labels, kept, config.ratio)
            return interpolate(image, window.following.original, stages["matches"], method=config.interpolation)
        if kept is None:
            return scale_up(labels, config.ratio, image.shape[:2], config.bilinear)
        stages["matches"] = consistency.matches(labels, kept, config.ratio)
        known = np.where(kept[..., None], labels, np.float32(np.nan))
        return scale_up(known, config.ratio, image.shape[:2], bilinear=False)

    def _radius(self, window: Window) -> int:
        """Largest label along each axis."""
        assert self.config.max_displacement != "auto"
        return self.config.max_displacement // self.config.ratio

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
        """Memory that stays: its first use costs the operating system seconds."""
        if name not in self._buffers or self._buffers[name].shape != shape:
            self._buffers.pop(name, None)
            self._buffers[name] = np.empty(shape, dtype)
        return self._buffers[name]


def _latest(held: list[Frame], ahead: bool) -> Window:
    frames = held[:-1] if ahead else held
    return Window(frames[-3] if len(frames) > 2 else None, frames[-2], frames[-1], held[-1] if ahead else None)
