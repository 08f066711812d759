"""The steps of the flow matcher by torch on a GPU, for `nic bench flow`; times include the wait for their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nic_lightning.benchmarks.timing import timed

TARGETS = {"cost volume": 0.02, "semi-global, both frames": 0.05}
"""Seconds at Sintel's size, 1024x436 at a third, +-242 pixels."""


def device_steps(
    frames: list[np.ndarray], max_displacement: int, repeats: int, name: str | None
) -> Iterator[dict[str, Any]]:
    """A row for each step on a device: `name`, or a GPU where there is one and `name` is None, or else no rows."""
    import torch

    from nic_lightning.flow.gpu.kernels import TorchKernels
    from nic_lightning.flow.kernels import kernels_for

    if name is None and not torch.cuda.is_available():
        return
    kernels = kernels_for(name or "cuda") if name != "cpu" else TorchKernels(torch.device("cpu"))
    for step, call in _steps(kernels, frames, max_displacement // 3):
        timing = timed(call, repeats)
        rate = f"{1000 * timing['wall']:.1f} ms"
        if step in TARGETS:
            rate += f", aim at Sintel's size and range {1000 * TARGETS[step]:.0f} ms"
        yield {"name": f"{kernels.device}: {step}", **timing, "rate": rate}


def _steps(kernels: Any, frames: list[np.ndarray], radius: int) -> Iterator[tuple[str, Callable[[], object]]]:
    from nic_lightning.flow.features import FeatureNetwork, extract
    from nic_lightning.flow.filtering import BilateralFilter
    from nic_lightning.flow.semi_global_matching import Potts, TruncatedL1
    from nic_lightning.flow.triple import MINIMUM, add_forward

    network = FeatureNetwork().eval().requires_grad_(False).to(kernels.device)
    views = [extract(network, frame, 3) for frame in frames[:2]]
    first, second = (kernels.load(view.features) for view in views)
    shape = (*first.shape[:2], 2 * radius + 1, 2 * radius + 1)
    volume, reverse, sums = (kernels.empty(*of) for of in ((shape, 8), (shape, 8), (kernels.sums_shape(shape), 16)))

    def both(smoothness: Potts | TruncatedL1) -> None:
        kernels.semi_global_matching(volume, views[0].luma, smoothness, sums)
        kernels.semi_global_matching(reverse, views[1].luma, smoothness, sums, True)

    yield "features, one frame", lambda: extract(network, frames[0], 3)
    yield "cost volume", lambda: kernels.match(first, second, radius, volume)
    yield "cost volumes of both frames", lambda: kernels.match(first, second, radius, volume, reverse)
    yield "cost volume, least of two", lambda: add_forward(volume, first, second, MINIMUM, match=kernels.match)
    yield "winner takes all", lambda: kernels.winner_takes_all(volume)
    yield "bilateral filter, 7x7", lambda: kernels.filter_costs(volume, views[0].image, BilateralFilter())
    yield "semi-global, both frames", lambda: both(Potts())
    yield "the same, truncated L1", lambda: both(TruncatedL1())
