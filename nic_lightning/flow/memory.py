"""Whether the volumes of a frame fit into memory, and in how many strips of rows they do."""

from __future__ import annotations

import logging
import os
import resource
from dataclasses import dataclass
from pathlib import Path

from nic_lightning.errors import UserError

log = logging.getLogger(__name__)

OVERLAP = 24  # rows that a strip sees of its neighbours, so that the paths of its own rows have settled
FEWEST_ROWS = 16
SHARE = 0.9  # of what is free


@dataclass(frozen=True)
class Plan:
    """How a frame is matched: `rows` of the working scale at a time, all of them where the volumes fit."""

    height: int
    width: int
    radius: int
    rows: int

    @property
    def whole(self) -> bool:
        """Whether one volume holds the frame."""
        return self.rows >= self.height

    @property
    def volume_shape(self) -> tuple[int, int, int, int]:
        """Of the volume of the frame, or of the largest strip with its overlap."""
        n = 2 * self.radius + 1
        return min(self.height, self.rows + 2 * OVERLAP), self.width, n, n


def plan(
    height: int, width: int, radius: int, volumes: float, strip_volumes: float, free: int | None, called: str = "free"
) -> Plan:
    """The largest strips that fit.

    Args:
        height: rows at the working scale.
        width: columns.
        radius: largest label.
        volumes: bytes for each pixel and label of a whole frame.
        strip_volumes: the same of a strip.
        free: bytes there are, or None where the system does not say.
        called: how the sentences call them.

    Raises:
        UserError: not even a strip of FEWEST_ROWS rows fits.
    """
    row = width * (2 * radius + 1) ** 2
    features = 8 * height * width * 256
    needed = int(volumes * height * row) + features
    if free is None or needed <= free:
        return Plan(height, width, radius, height)
    rows = int((free - features) / (strip_volumes * row)) - 2 * OVERLAP
    said = (
        f"Matching {width}x{height} pixels at the working scale over {2 * radius + 1}x{2 * radius + 1} displacements "
        f"is {height * row / 1e9:.1f} G cells and takes {needed / 1e9:.1f} GB, where {free / 1e9:.1f} GB are {called}"
    )
    if rows < FEWEST_ROWS:
        least = strip_volumes * row * (FEWEST_ROWS + 2 * OVERLAP) + features
        raise UserError(
            f"{said}, and strips of {FEWEST_ROWS} rows take {least / 1e9:.1f} GB; "
            "raise ratio, lower max_displacement, or make room."
        )
    log.warning("%s: it is matched in %d strips, and flow may differ at their seams.", said, -(-height // rows))
    return Plan(height, width, radius, rows)


def free_memory() -> int | None:
    """Bytes this process may still take: of the machine, its control group and its own limit; None if unknown."""
    amounts = [amount for amount in (_of_machine(), _of_group(), _of_process()) if amount is not None]
    return int(SHARE * max(0, min(amounts))) if amounts else None


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _of_process() -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else limit - pages * os.sysconf("SC_PAGE_SIZE")
