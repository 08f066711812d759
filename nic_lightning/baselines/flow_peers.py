"""Optical flow by others, called like our pipeline: OpenCV's classic methods, RAFT with weights that users place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.errors import DataError, UserError
from nic_lightning.flow.interpolation import to_bytes

OPENCV = ("dis_ultrafast", "dis_fast", "dis_medium", "farneback", "deepflow")
RAFT_NAMES = {"raft_large": "raft_large_C_T_V2-1bb1363a.pth", "raft_small": "raft_small_C_T_V2-01064c6d.pth"}
"""torchvision's models and the files that its links download; of those trained without Sintel and KITTI."""
_MULTIPLE, _SMALLEST = 8, 128


@dataclass(frozen=True)
class Estimate:
    """What a peer finds."""

    flow: NDArray[np.float32]
    """(H, W, 2) in pixels."""
    stages: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Peers show none."""


class OpenCvFlow:
    """A method of OpenCV, on grey images of two frames, with its default settings.

    Args:
        method: one of OPENCV: Dense Inverse Search (Kroeger et al. 2016) with three presets, Farneback (2003), DeepFlow
            (Weinzaepfel et al. 2013) without its matches.
    """

    def __init__(self, method: str) -> None:
        if method not in OPENCV:
            raise UserError(f"OpenCV's flow is one of {', '.join(OPENCV)}, not {method!r}.")
        self.name = method

    def run(self, previous: Any, current: NDArray[Any], next: NDArray[Any], after: Any = None) -> Estimate:
        """Flow from `current` to `next`, RGB (H, W, 3); the other frames are not looked at."""
        import cv2

        grey1, grey2 = (cv2.cvtColor(to_bytes(image), cv2.COLOR_RGB2GRAY) for image in (current, next))
        if min(grey1.shape) < 16:
            raise DataError(f"{self.name} needs frames of at least 16 pixels a side, not {grey1.shape[::-1]}.")
        return Estimate(np.asarray(self._method().calc(grey1, grey2, None), np.float32))

    def _method(self) -> Any:
        import cv2

        if self.name == "deepflow":
            return cv2.optflow.createOptFlow_DeepFlow()
        if self.name == "farneback":
            return cv2.FarnebackOpticalFlow.create()
        presets = {"ultrafast": 0, "fast": 1, "medium": 2}
        return cv2.DISOpticalFlow.create(presets[self.name.removeprefix("dis_")])


class RaftFlow:
    """RAFT (Teed and Deng 2020) of torchvision, on two frames.

    Args:
        method: "raft_large" or "raft_small".
        weights: file of its state, which torchvision's documentation links; nothing is downloaded.
        iterations: updates of the flow.
        device: where it runs.
    """

    def __init__(
        self, method: str = "raft_large", weights: str | None = None, iterations: int = 12, device: str = "cpu"
    ) -> None:
        from nic_lightning.layers.device import checked_device

        if method not in RAFT_NAMES:
            raise UserError(f"torchvision's RAFT is one of {', '.join(RAFT_NAMES)}, not {method!r}.")
        link = f"https://download.pytorch.org/models/{RAFT_NAMES[method]}"
        if weights is None or not Path(weights).is_file():
            there = "none were named" if weights is None else f"there is no file {weights}"
            raise DataError(f"{method} needs weights, and {there}: get {link} and give its place by weights=FILE.")
        self.name, self.device, self.iterations = method, checked_device(device), iterations
        self._model = _load(method, Path(weights)).to(self.device)

    def run(self, previous: Any, current: NDArray[Any], next: NDArray[Any], after: Any = None) -> Estimate:
        """Flow from `current` to `next`, RGB (H, W, 3); the other frames are not looked at."""
        import torch

        height, width = current.shape[:2]
        right, down = _padding(width), _padding(height)
        padding = ((0, down), (0, right), (0, 0))
        frames = [
            torch.from_numpy(np.pad(to_bytes(image), padding, "edge")).permute(2, 0, 1)[None].to(self.device) / 127.5
            - 1
            for image in (current, next)
        ]
        with torch.inference_mode():
            flow = self._model(*frames, num_flow_updates=self.iterations)[-1]
        return Estimate(flow[0, :, :height, :width].permute(1, 2, 0).float().cpu().numpy())


def _padding(side: int) -> int:
    """Pixels that RAFT's coarse scale needs besides."""
    return max(_SMALLEST, -(-side // _MULTIPLE) * _MULTIPLE) - side


def _load(method: str, path: Path) -> Any:
    import torch
    from torchvision.models import optical_flow

    model = getattr(optical_flow, method)(weights=None)
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a file from anywhere may raise anything
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(f"{path} holds no weights of {method}: {reason}") from error
    return model.eval()
