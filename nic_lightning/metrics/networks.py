"""Measures of single inputs that need a network: those of a medium that are installed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from torch import nn

from nic_lightning.errors import DataError
from nic_lightning.media.base import Medium
from nic_lightning.metrics.lpips import load_lpips
from nic_lightning.metrics.weights import find_lpips, require_lpips

log = logging.getLogger(__name__)
Wish = bool | str | None
"""Whether a network is to measure: false and None for no, true for yes, or the file of its weights."""
LOADERS: Mapping[str, Callable[[str | Path], nn.Module | None]] = {"lpips": load_lpips}
"""By the column of their values."""
FILES: Mapping[str, Callable[[], Path | None]] = {"lpips": find_lpips}
"""Where the weights are that are taken where none are named."""


def networks_of(medium: Medium, wishes: Mapping[str, Wish]) -> dict[str, nn.Module]:
    """The networks that are asked for to measure qualities of a medium, by column.

    One that could measure, but is not asked to, is named in a line of the log.

    Raises:
        DataError: weights of a network that is asked for are missing, or are not its own.
    """
    found: dict[str, nn.Module] = {}
    for key in (key for key in medium.measured if key in LOADERS):
        wish = wishes.get(key)
        if not wish:
            _say_left_out(medium.quality(key).title, key)
            continue
        network = LOADERS[key](require_lpips() if wish is True else wish)
        assert network is not None
        found[key] = network
    return found


def _say_left_out(title: str, key: str) -> None:
    with suppress(DataError):  # a variable that names a missing file is no matter of who does not ask for it
        if FILES[key]() is not None:
            log.info("%s is not measured; evaluation.%s=true measures it.", title, key)
