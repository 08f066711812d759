"""The stages of a result as flows of full size, to show and to measure. No torch needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nic_lightning.flow.scaling import scale_up

FINAL = "flow"
"""Name of the last stage."""


def stage_flows(flow: NDArray[Any], stages: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Flow (H, W, 2) in pixels after each stage that was recorded, in order; the last is `FINAL`.

    "labels": discrete flow, scaled up bilinearly. "kept": what the strategy left of it, in blocks, NaN elsewhere.
    "dense": before refinement, where that is something else.

    Args:
        flow: the final flow (H, W, 2).
        stages: of a `pipeline.Result`; those of other methods may be empty.
    """
    told: dict[str, NDArray[np.float32]] = {}
    if "labels" in stages:
        labels, size = stages["labels"], flow.shape[:2]
        ratio = max(1, size[0] // labels.shape[0])
        told["labels"] = scale_up(labels, ratio, size, bilinear=True)
        if "kept" in stages:
            known = np.where(stages["kept"][..., None], labels, np.float32(np.nan))
            told["kept"] = scale_up(known, ratio, size, bilinear=False)
    if "dense" in stages and not any(_same(stages["dense"], other) for other in (flow, *told.values())):
        told["dense"] = stages["dense"]
    return told | {FINAL: flow}


def _same(first: NDArray[Any], second: NDArray[Any]) -> bool:
    return first is second or np.array_equal(first, second, equal_nan=True)
