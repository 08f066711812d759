"""What flow is made of, and what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from nic_lightning.errors import DataError
from nic_lightning.flow.features import Frame


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

    def each(self, change: Callable[[Frame], Frame]) -> Window:
        """The window of changed frames."""
        frames = (self.previous, self.current, self.following, self.after)
        previous, current, following, after = (None if frame is None else change(frame) for frame in frames)
        assert current is not None
        assert following is not None
        return Window(previous, current, following, after)
