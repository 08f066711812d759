"""Errors of the simplified pipeline's labels over what the thesis leaves open, one frame of each scene at hand.

    python experiments/timcflow_simplified/sweep.py experiments/timcflow_simplified/sweep.csv

Costs of displacements that leave the frame, widths of the filter, and potentials after it. The scale is that of
ratio=auto; at a third labels reach 150 pixels (60 for Middlebury), since the whole range takes 2.6 times as long. Rows
are appended as they are found; those that are there are left out.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from nic_lightning.data.flow_sets import FlowItem, flow_set
from nic_lightning.flow.cost_volume import mirror_border
from nic_lightning.flow.features import FeatureNetwork, extract
from nic_lightning.flow.filtering import BilateralFilter, filter_costs
from nic_lightning.flow.kernels import NumbaKernels
from nic_lightning.flow.range import find_scale
from nic_lightning.flow.results import Window
from nic_lightning.flow.scaling import scale_up
from nic_lightning.flow.semi_global_matching import Potts, semi_global_matching
from nic_lightning.flow.settings import preset
from nic_lightning.flow.triple import MINIMUM, triple_cost_volume
from nic_lightning.metrics.flow_errors import flow_errors

REACH = {"sintel_final": 150, "kitti2012": 150, "middlebury_gray": 60}
OUTSIDE = (64, 100, 120)
WINDOWS = ((3, 3.0, 0.05), (3, 3.0, 0.1))
POTENTIALS = ((7, 600), (4, 300), (10, 1200), (7, 1200))
COLUMNS = ["set", "scene", "ratio", "outside_cost", "radius", "sigma_space", "sigma_colour", "near", "far"]
ERRORS = ["epe_all", "epe_noc", "epe_occ"]


def variants(outside: int, ratio: int) -> Iterator[tuple[tuple[int, float, float] | None, tuple[int, int]]]:
    """Without the filter; with it; and, where labels stay in the frame and motion is large, one change a time."""
    yield None, POTENTIALS[0]
    yield WINDOWS[0], POTENTIALS[0]
    if outside == OUTSIDE[1] and ratio > 1:
        yield None, POTENTIALS[2]
        yield from ((WINDOWS[0], potentials) for potentials in POTENTIALS[1:])
        yield from ((window, POTENTIALS[0]) for window in WINDOWS[1:])
    elif ratio == 1:
        yield from ((window, POTENTIALS[2]) for window in (None, WINDOWS[0]))


def rows(name: str, item: FlowItem, network: FeatureNetwork, done: set[tuple[str, ...]]) -> Iterator[dict[str, object]]:
    previous, current, following, _ = item.frames()
    truth = item.truth()
    config, kernels = preset("simplified", ratio="auto", max_displacement=REACH[name]), NumbaKernels()
    window = Window(None, extract(network, current, 3), extract(network, following, 3))
    config = find_scale(window, config, network, kernels)
    assert config.ratio != "auto"
    assert config.max_displacement != "auto"
    ratio, reach = config.ratio, config.max_displacement // config.ratio
    now, then = extract(network, current, ratio), extract(network, following, ratio)
    past = None if previous is None else extract(network, previous, ratio).features
    for outside in OUTSIDE if ratio > 1 else OUTSIDE[1:2]:
        todo = []
        for widths, potentials in variants(outside, ratio):
            settings = (name, item.scene, ratio, outside, *(widths or (0, 0, 0)), *potentials)
            if tuple(map(str, settings)) not in done:
                todo.append((settings, widths, potentials))
        if not todo:
            continue
        volume = mirror_border(triple_cost_volume(past, now.features, then.features, reach, MINIMUM, outside=outside))
        filtered, last = volume, None
        for settings, widths, (near, far) in todo:
            if widths is None:
                filtered, last = volume, None
            if widths is not None and widths != last:
                filtered, last = filter_costs(volume.copy(), now.image, BilateralFilter(*widths)), widths
            labels = semi_global_matching(filtered, now.luma, Potts(near, far))
            flow = scale_up(labels, ratio, current.shape[:2], bilinear=True)
            found = flow_errors(flow, truth.flow, truth.occluded).row()
            yield {**dict(zip(COLUMNS, settings, strict=True)), **{key: found[key] for key in ERRORS}}


def scenes() -> Iterator[tuple[str, FlowItem]]:
    """The last frame of each scene that has a frame before it; where there is none, of two frames."""
    for name in REACH:
        best: dict[str, FlowItem] = {}
        for item in flow_set(name):
            if item.scene not in best or item.has_previous:
                best[item.scene] = item
        yield from product([name], best.values())


def main() -> None:
    path = Path(sys.argv[1])
    done = set()
    if path.exists():
        with path.open() as file:
            done = {tuple(row[column] for column in COLUMNS) for row in csv.DictReader(file)}
    network = FeatureNetwork.from_file(preset("simplified").weights_file())
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS + ERRORS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for name, item in scenes():
            for row in rows(name, item, network, done):
                writer.writerow(row | {k: f"{row[k]:.4f}" if row[k] is not None else "" for k in ERRORS})
                file.flush()


if __name__ == "__main__":
    main()
