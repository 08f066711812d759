"""How far labels have to reach: as the settings say, or as a pass over smaller frames finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nic_lightning.flow.consistency import keep_large_regions
from nic_lightning.flow.features import SMALLEST, FeatureNetwork, extract
from nic_lightning.flow.kernels import Kernels
from nic_lightning.flow.matching import Matching
from nic_lightning.flow.results import Result, Window
from nic_lightning.flow.settings import FlowConfig

COARSER = 3  # times the ratio of the working scale
FURTHEST = 242  # full-size pixels along each axis, DCFlow's range for Sintel
REGION = 4  # pixels of the coarse scale that have to move alike
SPARE = 2  # labels of the coarse scale: one for rounding, one for what is smaller than a region


def find_radius(window: Window, config: FlowConfig, network: FeatureNetwork, kernels: Kernels) -> int:
    """Largest label along each axis, in pixels of the working scale.

    With max_displacement "auto" frames of a third of the working scale are matched first, over the whole range, and the
    largest motion of regions there counts, plus what rounding may hide. Things smaller than such a region may move
    further and be missed; a given range misses nothing within it.
    """
    if config.max_displacement != "auto":
        return config.max_displacement // config.ratio
    furthest = max(1, FURTHEST // config.ratio)
    ratio = COARSER * config.ratio
    if min(window.current.original.shape[:2]) < ratio * SMALLEST or furthest <= COARSER:
        return furthest
    coarse = Window(
        None if window.previous is None else extract(network, window.previous.original, ratio),
        extract(network, window.current.original, ratio),
        extract(network, window.following.original, ratio),
    )
    settings = replace(config, cost_filter=None, strategy="none")
    labels = Matching(settings, kernels, keep_volumes=False).labels(coarse, FURTHEST // ratio, False, False, Result())
    moving = np.abs(labels).max(-1)[keep_large_regions(labels, REGION)]
    return min(furthest, COARSER * (int(moving.max(initial=0)) + SPARE))
