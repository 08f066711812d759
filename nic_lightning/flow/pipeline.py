"""Optical flow by discrete matching: DCFlow, TIMCflow and the thesis' simplified pipeline, which differ in settings.

```
frames -> features -> cost volume of two or three frames -> [bilateral filter] -> semi-global matching -> labels
labels -> [which to keep] -> [interpolation, or scaling up] -> [variational refinement] -> flow
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from nic_lightning.flow import consistency
from nic_lightning.flow.cost_volume import costs_at
from nic_lightning.flow.features import FeatureNetwork, Frame, extract
from nic_lightning.flow.interpolation import interpolate
from nic_lightning.flow.kernels import Kernels, kernels_for
from nic_lightning.flow.matching import Matching
from nic_lightning.flow.range import find_radius, find_scale, first_ratio
from nic_lightning.flow.refinement import refine
from nic_lightning.flow.results import Result, Window
from nic_lightning.flow.scaling import scale_up
from nic_lightning.flow.settings import FlowConfig


class Pipeline:
    """Flow from triples or sequences of frames; keeps its volumes for the next ones, since new memory costs seconds.

    Args:
        config: what to do.
        network: the features; read from `config.weights_file()` if not given.
        keep_volumes: copy the volumes, each a gigabyte for Sintel, into `Result.stages`.
        kernels: of `config.device` if not given; the network is moved to where they work.
    """

    def __init__(
        self,
        config: FlowConfig,
        network: FeatureNetwork | None = None,
        *,
        keep_volumes: bool = False,
        kernels: Kernels | None = None,
    ) -> None:
        self.config = config
        self._kernels = kernels or kernels_for(config.device)
        self.network = network or FeatureNetwork.from_file(config.weights_file())
        if self._kernels.device is not None:
            self.network.to(self._kernels.device)
        self._matching = Matching(config, self._kernels, keep_volumes)

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
            UserError: its volumes do not fit into memory, not even strip by strip.
        """
        result = Result()
        window = Window(
            None if previous is None else self._frame(previous, result),
            self._frame(current, result),
            self._frame(following, result),
            None if after is None or self.config.strategy != "three_frames" else self._frame(after, result),
        )
        config = self._scale(window, result)
        return self._flow(window.each(partial(self._at, config, result)), config, result)

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
            config = self._scale(_latest(held, ahead), result)
            held = [self._at(config, result, frame) for frame in held]
            yield self._flow(_latest(held, ahead), config, result, carry, carried)
            result, carried, held = Result(), carry, held[-2 - ahead :]
        if ahead and len(held) >= 2:
            config = self._scale(_latest(held, False), result)
            held = [self._at(config, result, frame) for frame in held]
            yield self._flow(_latest(held, False), config, result)

    def _frame(self, image: np.ndarray, result: Result) -> Frame:
        with result.timed("features"):
            return extract(self.network, image, first_ratio(self.config, image.shape))

    def _scale(self, window: Window, result: Result) -> FlowConfig:
        with result.timed("range"):
            return find_scale(window, self.config, self.network, self._kernels)

    def _at(self, config: FlowConfig, result: Result, frame: Frame) -> Frame:
        """The frame at the scale of `config`."""
        ratio = _number(config.ratio)
        if frame.luma.shape == tuple(size // ratio for size in frame.original.shape[:2]):
            return frame
        with result.timed("features"):
            return extract(self.network, frame.original, ratio)

    def _flow(
        self, window: Window, config: FlowConfig, result: Result, carry: bool = False, carried: bool = False
    ) -> Result:
        """Flow of one window. `carry` keeps its pair's costs for the next one, `carried` has those of the last."""
        with result.timed("range"):
            radius = find_radius(window, config, self.network, self._kernels)
        result.stages["labels"] = self._matching.labels(window, radius, carry, carried, result)
        if config.strategy != "none":
            result.stages["kept"] = self._keep(window, result)
        with result.timed("interpolation"):
            result.flow = result.stages["dense"] = self._dense(window, _number(config.ratio), result.stages)
        if config.refinement is not None:
            with result.timed("refinement"):
                images = window.current.original, window.following.original
                result.flow = refine(*images, result.flow, **config.refinement)
        return result

    def _keep(self, window: Window, result: Result) -> np.ndarray:
        """The mask of the configured strategy; its flows and costs go to the stages."""
        config, stages, labels = self.config, result.stages, result.stages["labels"]
        if config.strategy == "large_regions":
            return consistency.keep_large_regions(labels)
        if config.strategy == "two_weightings":
            stages["other"] = self._matching.other_labels(window, result)
            return consistency.keep_agreeing(labels, stages["other"])
        stages["backward"] = self._matching.backward_labels(window, result)
        if config.strategy != "by_cost":
            return consistency.keep(labels, stages["backward"], unique=config.unique)
        features, outside = window.current.features, config.outside_cost
        costs = stages["forward_cost"] = costs_at(features, window.following.features, labels, outside)
        others = stages["backward_cost"] = np.full_like(costs, 255)
        if window.previous is not None:
            others[:] = costs_at(features, window.previous.features, -labels, outside)
        return consistency.keep_by_cost(labels, stages["backward"], costs, others, unique=config.unique)

    def _dense(self, window: Window, ratio: int, stages: dict[str, np.ndarray]) -> np.ndarray:
        """Labels, where they are kept, as flow of the full size."""
        config, labels, image = self.config, stages["labels"], window.current.original
        kept = stages.get("kept")
        if config.interpolation != "none":
            kept = np.ones(labels.shape[:2], bool) if kept is None else kept
            stages["matches"] = consistency.matches(labels, kept, ratio)
            return interpolate(image, window.following.original, stages["matches"], method=config.interpolation)
        if kept is None:
            return scale_up(labels, ratio, image.shape[:2], config.bilinear)
        stages["matches"] = consistency.matches(labels, kept, ratio)
        known = np.where(kept[..., None], labels, np.float32(np.nan))
        return scale_up(known, ratio, image.shape[:2], bilinear=False)


def _number(ratio: int | str) -> int:
    assert isinstance(ratio, int)
    return ratio


def _latest(held: list[Frame], ahead: bool) -> Window:
    frames = held[:-1] if ahead else held
    return Window(frames[-3] if len(frames) > 2 else None, frames[-2], frames[-1], held[-1] if ahead else None)
