"""The heavy steps of matching: by numba on the processor, or by torch on a GPU. Both give the same integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nic_lightning.flow.cost_volume import match
from nic_lightning.flow.filtering import filter_costs
from nic_lightning.flow.memory import free_memory
from nic_lightning.flow.semi_global_matching import semi_global_matching, sums_shape, winner_takes_all
from nic_lightning.flow.triple import combine


class Kernels(Protocol):
    """What matching is made of; volumes stay where the kernels work, and everything else is of numpy."""

    device: Any
    """The torch.device of the feature network and the volumes; None leaves the network where it is."""
    free: str
    """How sentences call the memory of `room`."""

    match: Callable[..., Any]
    """`cost_volume.match`"""
    combine: Callable[..., Any]
    """`triple.combine`"""
    filter_costs: Callable[..., Any]
    """`filtering.filter_costs`"""
    semi_global_matching: Callable[..., np.ndarray]
    winner_takes_all: Callable[..., np.ndarray]
    """Both as in `semi_global_matching`"""

    def empty(self, shape: tuple[int, ...], bits: int) -> Any:
        """Memory for a volume of 8-bit costs or 16-bit sums."""
        ...

    def sums_shape(self, volume: tuple[int, ...]) -> tuple[int, ...]:
        """Of the sums that semi-global matching of a volume of this shape works with."""
        ...

    def load(self, features: np.ndarray) -> Any:
        """Features (h, w, 64) where `match` takes them."""
        ...

    def copy(self, volume: Any) -> np.ndarray:
        """A copy of a volume."""
        ...

    def room(self, height: int, width: int, radius: int) -> int | None:
        """Bytes that volumes of frames of that size may take; None if unknown."""
        ...


class NumbaKernels:
    """On the processor."""

    device = None
    free = "free"
    match = staticmethod(match)
    combine = staticmethod(combine)
    filter_costs = staticmethod(filter_costs)
    semi_global_matching = staticmethod(semi_global_matching)
    sums_shape = staticmethod(sums_shape)
    winner_takes_all = staticmethod(winner_takes_all)

    def empty(self, shape: tuple[int, ...], bits: int) -> np.ndarray:
        """An array."""
        return np.empty(shape, np.uint8 if bits == 8 else np.uint16)

    def load(self, features: np.ndarray) -> np.ndarray:
        """They are there."""
        return features

    def copy(self, volume: np.ndarray) -> np.ndarray:
        """A copy."""
        return volume.copy()

    def room(self, height: int, width: int, radius: int) -> int | None:
        """Free memory of the machine and the process."""
        return free_memory()


def kernels_for(device: str) -> Kernels:
    """Kernels by the setting `FlowConfig.device`.

    Raises UserError for a GPU that is not there.
    """
    if device == "cpu":
        return NumbaKernels()
    import torch

    from nic_lightning.flow.gpu.kernels import TorchKernels
    from nic_lightning.layers.device import checked_device

    if device == "auto":
        return TorchKernels(torch.device("cuda")) if torch.cuda.is_available() else NumbaKernels()
    return TorchKernels(checked_device(device))
