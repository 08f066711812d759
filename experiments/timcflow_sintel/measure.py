"""End-point errors of every stage of the three pipelines on the Sintel frames at hand that have a frame before them."""

from __future__ import annotations

import csv
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nic_lightning.data.flow_sets import FlowItem, flow_set
from nic_lightning.flow.consistency import matches
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.pipeline import Pipeline, Result
from nic_lightning.flow.scaling import scale_up
from nic_lightning.flow.semi_global_matching import Potts, winner_takes_all
from nic_lightning.flow.settings import preset
from nic_lightning.metrics.flow_errors import flow_errors

COLUMNS = ["method", "stage", "scene", "frame", "epe_all", "epe_noc", "epe_occ", "density", "density_occ"]
MEASURED = {"ratio": 3, "outside_cost": 64, "smoothness": Potts()}  # what timcflow_simplified replaces
COUNTS = ["n_all", "n_noc", "n_occ"]


def stages(result: Result, ratio: int, size: tuple[int, int], filtered: bool) -> Iterator[tuple[str, np.ndarray]]:
    """As in the thesis' tables 5.2 (wta), 5.3 (sgm, sgm_filtered), 5.4 (sparse) and 5.5 (the last two)."""
    labels = result.stages["labels"]
    if not filtered:
        yield "wta", scale_up(winner_takes_all(result.stages["volume"]), ratio, size, bilinear=True)
    yield ("sgm_filtered" if filtered else "sgm"), scale_up(labels, ratio, size, bilinear=True)
    if "kept" in result.stages:
        sparse = np.full((*size, 2), np.nan, np.float32)
        points = matches(labels, result.stages["kept"], ratio)
        x, y = points[:, :2].round().astype(int).T
        sparse[y, x] = points[:, 2:] - points[:, :2]
        # Of the pixels that stand for a block, only: one in nine can be matched at all.
        yield "sparse", sparse
        yield "interpolated", result.stages["dense"]
    yield "refined", result.flow


def rows(items: list[FlowItem], network: FeatureNetwork) -> Iterator[dict[str, object]]:
    for name in ("dcflow", "timcflow", "simplified"):
        config = preset(name, **MEASURED) if name == "simplified" else preset(name)
        assert config.ratio != "auto"
        pipeline = Pipeline(config, network, keep_volumes=config.cost_filter is None)
        for item in items:
            truth = item.truth()
            result = pipeline.run(*item.frames())
            for stage, flow in stages(result, config.ratio, truth.flow.shape[:2], config.cost_filter is not None):
                found = flow_errors(flow, truth.flow, truth.occluded).row()
                scale = config.ratio**2 if stage == "sparse" else 1
                found |= {key: (found[key] or 0) * scale for key in ("density", "density_occ")}
                found |= {"method": name, "stage": stage, "scene": item.scene, "frame": item.name}
                yield {column: found[column] for column in COLUMNS + COUNTS}
            print(name, item.name, {k: tuple(round(t, 2) for t in v) for k, v in result.seconds.items()}, flush=True)
        del pipeline, result
        gc.collect()


def main() -> None:
    items = [item for item in flow_set("sintel_final") if item.has_previous]
    network = FeatureNetwork.from_file(preset("dcflow").weights_file())
    with (Path(sys.argv[1])).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS + COUNTS, lineterminator="\n")
        writer.writeheader()
        for row in rows(items, network):
            row |= {k: f"{v:.4f}" for k, v in row.items() if isinstance(v, float)}
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
