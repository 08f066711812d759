"""Errors of a flow against the true one, region by region, and three ways to average them. No torch needed.

Regions, as of the Sintel benchmark (Butler et al. 2012): "all" pixels whose true flow is known, those of them seen in
the next frame ("noc") and not ("occ"); by true speed in pixels (s0_10, s10_40, s40 and more); by distance in pixels
from the nearest boundary of the occlusion mask (d0_10, d10_60, d60_140), from which the training sequences give it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

REGIONS = ("all", "noc", "occ", "s0_10", "s10_40", "s40", "d0_10", "d10_60", "d60_140")
VISIBILITY = REGIONS[:3]
_SPEEDS = {"s0_10": (0.0, 10.0), "s10_40": (10.0, 40.0), "s40": (40.0, math.inf)}
_DISTANCES = {"d0_10": (0.0, 10.0), "d10_60": (10.0, 60.0), "d60_140": (60.0, 140.0)}
MEASURES = {
    **{("epe_" if name in VISIBILITY else "") + name: name for name in REGIONS},
    "fl": "all",
    "fl_noc": "noc",
    "fl_occ": "occ",
}
"""Columns of the results table: mean end-point errors, outliers in per cent; and the region each is of."""

Mask = NDArray[np.bool_]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class FlowErrors:
    """Sums over the pixels of one picture."""

    error: dict[str, float] = field(default_factory=dict)
    """Sum of end-point errors in each region, pixels."""
    outliers: dict[str, int] = field(default_factory=dict)
    """Pixels of VISIBILITY regions off by more than 3 pixels and more than 5 % of the true motion (KITTI 2015)."""
    count: dict[str, int] = field(default_factory=dict)
    """Pixels with both flows known. A region that the data set does not mark is left out."""
    known: dict[str, int] = field(default_factory=dict)
    """Pixels with the true flow known."""

    def row(self) -> dict[str, float | int | None]:
        """Columns of the results table: MEASURES, densities in per cent, and `n_<region>`, the pixels behind them.

        None where a region has no pixel: a picture without occluded pixels says nothing of them.
        """
        columns: dict[str, float | int | None] = {}
        for name, region in MEASURES.items():
            sums = {k: 100.0 * v for k, v in self.outliers.items()} if name.startswith("fl") else self.error
            columns[name] = sums[region] / self.count[region] if self.count.get(region) else None
        for name, region in (("density", "all"), ("density_noc", "noc"), ("density_occ", "occ")):
            columns[name] = 100.0 * self.count[region] / self.known[region] if self.known.get(region) else None
        return columns | {f"n_{region}": self.count.get(region) for region in REGIONS}


def flow_errors(
    flow: NDArray[Any], truth: NDArray[Any], occluded: Mask | None = None, excluded: Mask | None = None
) -> FlowErrors:
    """Compare `flow` with `truth`, both (H, W, 2) in pixels and NaN where unknown.

    Args:
        flow: estimate; unknown pixels lower the density and enter no error.
        truth: true flow; unknown pixels are left out.
        occluded: (H, W) pixels not seen in the next frame; None: only "all" and speeds are measured.
        excluded: (H, W) pixels to leave out, such as those that Sintel calls invalid.

    Raises:
        ValueError: shapes differ.
    """
    if flow.shape != truth.shape:
        raise ValueError(f"The flow {flow.shape} and the true flow {truth.shape} differ in shape.")
    known = np.isfinite(truth).all(-1)
    if excluded is not None:
        known &= ~excluded
    both = known & np.isfinite(flow).all(-1)
    safe = np.where(both[..., None], truth, 0).astype(np.float64)
    error = np.linalg.norm(np.where(both[..., None], flow, 0) - safe, axis=-1)
    speed = np.linalg.norm(np.where(known[..., None], truth, 0), axis=-1)
    outlier = (error > 3) & (error > 0.05 * speed)
    found = FlowErrors()
    for name, region in _regions(speed, occluded).items():
        inside = both & region
        found.error[name] = float(error[inside].sum())
        found.count[name] = int(inside.sum())
        found.known[name] = int((known & region).sum())
        if name in VISIBILITY:
            found.outliers[name] = int((outlier & inside).sum())
    return found


def averages(rows: Iterable[Row], column: str) -> dict[str, float | None]:
    """Three means of a column of MEASURES over the rows of a data set, None where no row has a value.

    "pooled": over all pixels (Sintel's benchmark; KITTI's share of outliers). "image": over pictures (KITTI's end-point
    error). "sequence": pixels within each sequence, then over sequences alike (thesis, Table 5.2).
    """
    sums: dict[str, list[float]] = {}
    values: list[float] = []
    for row in rows:
        value, count = row.get(column), row.get(f"n_{MEASURES[column]}")
        if value is None or not count or not math.isfinite(value):
            continue
        values.append(value)
        total = sums.setdefault(str(row.get("scene")), [0.0, 0.0])
        total[0] += value * count
        total[1] += count
    if not values:
        return dict.fromkeys(("pooled", "image", "sequence"))
    totals = list(sums.values())
    return {
        "pooled": math.fsum(s for s, _ in totals) / math.fsum(n for _, n in totals),
        "image": math.fsum(values) / len(values),
        "sequence": math.fsum(s / n for s, n in totals) / len(totals),
    }


def _regions(speed: NDArray[np.float64], occluded: Mask | None) -> dict[str, Mask]:
    regions = {"all": np.ones(speed.shape, np.bool_)}
    regions |= {name: (speed >= low) & (speed < high) for name, (low, high) in _SPEEDS.items()}
    if occluded is not None:
        distance = boundary_distance(occluded)
        regions |= {"noc": ~occluded, "occ": occluded}
        regions |= {name: (distance >= low) & (distance < high) for name, (low, high) in _DISTANCES.items()}
    return regions


def boundary_distance(occluded: Mask) -> NDArray[np.float32]:
    """Distance of each pixel from the nearest one next to the mask's boundary; infinite without a boundary."""
    from scipy.ndimage import distance_transform_edt  # OpenCV's hangs in a forked process

    boundary = np.zeros(occluded.shape, np.bool_)
    across, down = occluded[:, 1:] != occluded[:, :-1], occluded[1:] != occluded[:-1]
    boundary[:, 1:] |= across
    boundary[:, :-1] |= across
    boundary[1:] |= down
    boundary[:-1] |= down
    if not boundary.any():
        return np.full(occluded.shape, np.inf, np.float32)
    return np.asarray(distance_transform_edt(~boundary), np.float32)
