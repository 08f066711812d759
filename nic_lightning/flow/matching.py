"""Labels of frames: cost volume, filter and semi-global matching, of whole frames or strip by strip."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nic_lightning.flow.cost_volume import mirror_border
from nic_lightning.flow.features import Frame
from nic_lightning.flow.kernels import Kernels
from nic_lightning.flow.memory import OVERLAP, Plan, plan
from nic_lightning.flow.results import Result, Window
from nic_lightning.flow.settings import FlowConfig
from nic_lightning.flow.triple import TWO_FRAMES, Lambdas, add_forward, backward_costs, triple_cost_volume

CHECKED_BACKWARD = ("check", "by_cost", "three_frames")  # strategies with a backward flow


class Matching:
    """Labels of one window after another, in memory that stays: its first use costs the operating system seconds."""

    def __init__(self, config: FlowConfig, kernels: Kernels, keep_volumes: bool) -> None:
        self.config = config
        self.keep_volumes = keep_volumes
        self._kernels = kernels
        self._buffers: dict[str, Any] = {}
        self._plan: Plan | None = None
        self._carried = False  # whether "reverse" holds this window's backward costs

    def labels(self, window: Window, radius: int, carry: bool, carried: bool, result: Result) -> np.ndarray:
        """Labels (h, w, 2) of the current frame.

        `carry` keeps the costs of its pair for the next window, `carried` says that this is the one after the last.
        """
        previous, current, following = window.previous, window.current, window.following
        outside = self.config.outside_cost
        reverse_needed = carry or self.config.strategy in CHECKED_BACKWARD
        self._prepare(current, radius, reverse_needed)
        if not self._whole:
            back = None if self.config.two_frames else previous
            return self._in_strips(current, following, back, self.config.lambdas, result, filtered=True)
        if carried and self._carried:
            self._buffers["volume"], self._buffers["reverse"] = self._buffers["reverse"], self._buffers["volume"]
        volume = self._buffers["volume"]
        reverse = self._buffers["reverse"] if reverse_needed else None
        with result.timed("cost volume"):
            match, (now, then) = self._kernels.match, self._features(current, following)
            if previous is None or self.config.two_frames:
                match(now, then, radius, volume, reverse, outside=outside)
            else:
                if not (carried and self._carried):
                    past = self._kernels.load(previous.features)
                    backward_costs(past, now, radius, volume, outside, match)
                add_forward(volume, now, then, self.config.lambdas, reverse, outside, match)
        self._carried = carry
        return self._optimise(volume, current, result)

    def other_labels(self, window: Window, result: Result) -> np.ndarray:
        """Labels of the current frame with the other weights of the triple cost."""
        lambdas, previous = self.config.other_lambdas, window.previous
        if not self._whole:
            return self._in_strips(window.current, window.following, previous, lambdas, result, filtered=True)
        volume = self._buffers["volume"]
        with result.timed("cost volume"):
            past, now, then = self._features(previous, window.current, window.following)
            radius, outside = volume.shape[2] // 2, self.config.outside_cost
            triple_cost_volume(past, now, then, radius, lambdas, volume, outside, self._kernels.match)
        return self._optimise(volume, window.current, result)

    def backward_labels(self, window: Window, result: Result) -> np.ndarray:
        """Labels from the following frame back: of two frames; of three with "three_frames". They have no filter."""
        current, following = window.current, window.following
        after = window.after if self.config.strategy == "three_frames" else None
        if not self._whole:
            return self._in_strips(following, current, after, self.config.lambdas, result, filtered=False)
        reverse = self._buffers["reverse"]
        if after is not None:
            with result.timed("cost volume"):
                now, then = self._features(following, after)
                outside = self.config.outside_cost
                add_forward(reverse, now, then, self.config.lambdas, outside=outside, match=self._kernels.match)
        mirror_border(reverse)
        return self._winners(reverse, following.luma, result, reversed_labels=True)

    def _features(self, *frames: Frame | None) -> list[Any]:
        return [None if frame is None else self._kernels.load(frame.features) for frame in frames]

    @property
    def _whole(self) -> bool:
        assert self._plan is not None
        return self._plan.whole

    def _prepare(self, frame: Frame, radius: int, reverse_needed: bool) -> None:
        """Memory for this size, or UserError; kept as long as the size is."""
        height, width = frame.luma.shape
        if self._plan is not None and (height, width, radius) == (
            self._plan.height,
            self._plan.width,
            self._plan.radius,
        ):
            return
        self._buffers.clear()
        self._carried = False
        room = self._kernels.room(height, width, radius)
        free = self.config.max_memory if self.config.max_memory is not None else room
        sums = self._kernels.sums_shape((height, width, 1, 1)) if self.config.smoothness is not None else (0,)
        sums_bytes = 2 * math.prod(sums) / (height * width)
        volumes = 1 + reverse_needed + self.keep_volumes + sums_bytes
        self._plan = plan(height, width, radius, volumes, 2 + sums_bytes, free, self._kernels.free)
        shape = self._plan.volume_shape
        self._buffers["volume"] = self._kernels.empty(shape, 8)
        if reverse_needed or not self._plan.whole:
            self._buffers["reverse"] = self._kernels.empty(shape, 8)
        if self.config.smoothness is not None:
            self._buffers["sums"] = self._kernels.empty(self._kernels.sums_shape(shape), 16)

    def _optimise(self, volume: Any, frame: Frame, result: Result) -> np.ndarray:
        """Border, filter and labels of a raw volume, which changes."""
        mirror_border(volume)
        if self.keep_volumes:
            result.stages["volume"] = self._kernels.copy(volume)
        if self.config.cost_filter is not None:
            with result.timed("filter"):
                self._kernels.filter_costs(volume, frame.image, self.config.cost_filter)
            if self.keep_volumes:
                result.stages["filtered"] = self._kernels.copy(volume)
        return self._winners(volume, frame.luma, result)

    def _winners(self, volume: Any, luma: np.ndarray, result: Result, reversed_labels: bool = False) -> np.ndarray:
        with result.timed("semi-global matching"):
            if self.config.smoothness is None:
                return self._kernels.winner_takes_all(volume, reversed_labels)
            sums = self._buffers["sums"][: len(volume)]
            return self._kernels.semi_global_matching(volume, luma, self.config.smoothness, sums, reversed_labels)

    def _in_strips(
        self, frame: Frame, forward: Frame, back: Frame | None, lambdas: Lambdas, result: Result, filtered: bool
    ) -> np.ndarray:
        """Labels of `frame` towards `forward`, rows by rows; the volumes of strips are never kept."""
        assert self._plan is not None
        height, radius, outside = self._plan.height, self._plan.radius, self.config.outside_cost
        labels = np.empty((*frame.luma.shape, 2), np.int16)
        match, (now, ahead, behind) = self._kernels.match, self._features(frame, forward, back)
        for top in range(0, height, self._plan.rows):
            low, high = max(0, top - OVERLAP), min(height, top + self._plan.rows + OVERLAP)
            volume, other = (self._buffers[name][: high - low] for name in ("volume", "reverse"))
            with result.timed("cost volume"):
                match(now[low:high], ahead, radius, volume, top=low, outside=outside)
                if back is not None and tuple(lambdas) != TWO_FRAMES:
                    match(now[low:high], behind, radius, other, top=low, outside=outside)
                    self._kernels.combine(volume, other, lambdas)
                mirror_border(volume, above=low == 0, below=high == height)
            if filtered and self.config.cost_filter is not None:
                with result.timed("filter"):
                    self._kernels.filter_costs(volume, frame.image[low:high], self.config.cost_filter)
            found = self._winners(volume, frame.luma[low:high], result)
            labels[top : top + self._plan.rows] = found[top - low : top - low + self._plan.rows]
        return labels
