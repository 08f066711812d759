"""The working scale and how far labels reach: as the settings say, or as a pass over smaller frames finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nic_lightning.flow.consistency import keep_large_regions
from nic_lightning.flow.features import SMALLEST, FeatureNetwork, extract
from nic_lightning.flow.kernels import Kernels
from nic_lightning.flow.matching import Matching
from nic_lightning.flow.results import Result, Window
from nic_lightning.flow.settings import FlowConfig
from nic_lightning.flow.triple import TWO_FRAMES

COARSER = 3  # times the ratio of the working scale
FURTHEST = 242  # full-size pixels along each axis, DCFlow's range for Sintel
REGION = 4  # pixels of the coarse scale that have to move alike
SPARE = 2  # labels of the coarse scale: one for rounding, one for what is smaller than a region
THIRD = 3  # ratio of DCFlow's working scale
SLOW = 1  # pixels of a third of that scale; frames that move further are not matched at full size
MOST_PIXELS = 2**20  # of frames that are matched at full size: a pixel's features take 256 bytes


def find_radius(window: Window, config: FlowConfig, network: FeatureNetwork, kernels: Kernels) -> int:
    """Largest label along each axis, in pixels of the working scale.

    With max_displacement "auto" frames of a third of the working scale are matched first, over the whole range, and the
    largest motion of regions there counts, plus what rounding may hide. Things smaller than such a region may move
    further and be missed; a given range misses nothing within it.
    """
    assert config.ratio != "auto"
    if config.max_displacement != "auto":
        return config.max_displacement // config.ratio
    furthest = max(1, FURTHEST // config.ratio)
    ratio = COARSER * config.ratio
    if min(window.current.original.shape[:2]) < ratio * SMALLEST or furthest <= COARSER:
        return furthest
    return min(furthest, COARSER * (_largest_motion(window, ratio, config, network, kernels) + SPARE))


def find_scale(window: Window, config: FlowConfig, network: FeatureNetwork, kernels: Kernels) -> FlowConfig:
    """The settings with a ratio of "auto" found out: full size for small motion, else a third.

    Labels are whole, so at a third of the scale motion is told in steps of 3 pixels. Frames of a ninth of the scale
    are matched first; where regions there move by at most `SLOW` pixels, that is 13 of full size, full size is taken,
    and labels reach 9 or 14 pixels: as far as such regions may move before rounding. It has 9 times the pixels but
    841 labels at most, of which the whole range at a third has 25,921, so the volume is a third as large. Things
    smaller than a region may move further and be missed. Large frames stay at a third, for the memory of their
    features; frames too small for a third are matched at full size.
    """
    if config.ratio != "auto":
        return config
    third, (height, width) = replace(config, ratio=THIRD), window.current.original.shape[:2]
    ratio = COARSER * THIRD
    if min(height, width) < THIRD * SMALLEST:
        motion = SLOW
    elif min(height, width) < ratio * SMALLEST or height * width > MOST_PIXELS:
        return third
    else:
        two = replace(third, lambdas=TWO_FRAMES)  # where motion speeds up, three find the old one
        motion = _largest_motion(window, ratio, two, network, kernels)
    if motion > SLOW:
        return third
    reach = max(ratio, ratio * motion + ratio // 2 + 1)
    given = reach if config.max_displacement == "auto" else config.max_displacement
    return replace(config, ratio=1, max_displacement=min(reach, given))


def first_ratio(config: FlowConfig, size: tuple[int, ...]) -> int:
    """That of the features of a frame of this size before `find_scale` has seen the next one."""
    if config.ratio != "auto":
        return config.ratio
    return THIRD if min(size[:2]) >= THIRD * SMALLEST else 1


def _largest_motion(window: Window, ratio: int, config: FlowConfig, network: FeatureNetwork, kernels: Kernels) -> int:
    """Of regions along either axis, in pixels of 1/`ratio` of the full size, over the whole range."""
    coarse = Window(
        None if window.previous is None else extract(network, window.previous.original, ratio),
        extract(network, window.current.original, ratio),
        extract(network, window.following.original, ratio),
    )
    settings = replace(config, cost_filter=None, strategy="none")
    labels = Matching(settings, kernels, keep_volumes=False).labels(coarse, FURTHEST // ratio, False, False, Result())
    moving = np.abs(labels).max(-1)[keep_large_regions(labels, REGION)]
    return int(moving.max(initial=0))
