"""What `flow.kernels` asks for, on one device of torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nic_lightning.errors import UserError
from nic_lightning.flow.filtering import BilateralFilter
from nic_lightning.flow.gpu import cost_volume, filtering, semi_global_matching
from nic_lightning.flow.gpu.precision import whole_float32
from nic_lightning.flow.memory import SHARE, free_memory
from nic_lightning.flow.semi_global_matching import Potts, TruncatedL1

RECENT = 4  # frames whose features are kept, those of one window


class TorchKernels:
    """Kernels on `device`. Each ends when its work is done, so that times are those of the work."""

    combine = staticmethod(cost_volume.combine)

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.free = "free" if device.type == "cpu" else f"free on {device}"
        self._recent: list[tuple[np.ndarray, Tensor]] = []

    def empty(self, shape: tuple[int, ...], bits: int) -> Tensor:
        """A tensor; UserError if the memory that was free is gone."""
        try:
            return torch.empty(shape, dtype=torch.uint8 if bits == 8 else torch.int16, device=self.device)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"{self.device} has no room for a volume of {np.prod(shape) * bits / 8e9:.1f} GB: something else took "
                "its memory; lower max_memory, or make room."
            ) from error

    def sums_shape(self, volume: tuple[int, ...]) -> tuple[int, ...]:
        """That of the volume: all lines walk at once."""
        return volume

    def load(self, features: np.ndarray) -> Tensor:
        """Features on the device, sent there once for the windows that share a frame."""
        for known, there in self._recent:
            if known is features:
                return there
        there = torch.from_numpy(features).to(self.device)
        self._recent = [*self._recent[1 - RECENT :], (features, there)]
        return there

    def copy(self, volume: Tensor) -> np.ndarray:
        """A copy in the memory of the machine."""
        return volume.cpu().clone().numpy()

    def room(self, height: int, width: int, radius: int) -> int | None:
        """Free memory, less what the kernels need for themselves."""
        if self.device.type == "cuda":
            cached = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            free = int(SHARE * (torch.cuda.mem_get_info(self.device)[0] + cached))
        else:
            free = free_memory()
        return None if free is None else max(0, free - _working_space(height, width, radius))

    def match(self, first: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """As `cost_volume.match`."""
        with whole_float32(self.device):
            volume = cost_volume.match(first, *arguments, **options)
        self._finish()
        return volume

    def filter_costs(self, volume: Tensor, image: np.ndarray, settings: BilateralFilter) -> Tensor:
        """As `filtering.filter_costs`."""
        filtering.filter_costs(volume, image, settings)
        self._finish()
        return volume

    def semi_global_matching(
        self,
        volume: Tensor,
        luma: np.ndarray,
        smoothness: Potts | TruncatedL1,
        sums: Tensor | None = None,
        reversed_labels: bool = False,
    ) -> np.ndarray:
        """As `flow.semi_global_matching.semi_global_matching`."""
        light = torch.from_numpy(np.ascontiguousarray(luma, dtype=np.float32)).to(self.device)
        labels = semi_global_matching.semi_global_matching(volume, light, smoothness, sums, reversed_labels)
        return labels.cpu().numpy()

    def winner_takes_all(self, volume: Tensor, reversed_labels: bool = False) -> np.ndarray:
        """As `flow.semi_global_matching.winner_takes_all`."""
        return semi_global_matching.winner_takes_all(volume, reversed_labels).cpu().numpy()

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _working_space(height: int, width: int, radius: int) -> int:
    """Bytes that the kernels take besides volumes and features, at most."""
    n = 2 * radius + 1
    products = 16 * cost_volume.SCORES + 20 * cost_volume.PIECE + 3 * height * (width + n) * n
    paths = 20 * max(height, width) * (n + 2) ** 2
    return max(products, paths, 5 * filtering.CELLS + 128 * height * width)
