"""End-point errors of the simplified pipeline with other settings, whole range, on Sintel's frames and Middlebury's.

    python experiments/timcflow_simplified/measure.py experiments/timcflow_simplified/measured.csv

Stages are "labels" and "flow", the end. Each variant is a column of settings. Rows are appended as they are found.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from nic_lightning.data.flow_sets import flow_set
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.settings import FlowConfig, preset
from nic_lightning.flow.stages import stage_flows
from nic_lightning.metrics.flow_errors import flow_errors

BEFORE: dict[str, Any] = {"ratio": 3, "outside_cost": 64}
VARIANTS: dict[str, FlowConfig] = {
    "simplified": preset("simplified"),
    "timcflow": preset("timcflow"),
    "simplified, before": preset("simplified", **BEFORE),
}
COLUMNS = ["set", "frame", "variant", "stage", "epe_all", "epe_noc", "epe_occ", "core_seconds"]


def main() -> None:
    path, wanted = Path(sys.argv[1]), sys.argv[2:]
    done = set()
    if path.exists():
        with path.open() as file:
            done = {(row["frame"], row["variant"]) for row in csv.DictReader(file)}
    network = FeatureNetwork.from_file(preset("simplified").weights_file())
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for name, variant in VARIANTS.items():
            pipeline = Pipeline(variant, network)
            for data in ("sintel_final", "middlebury_gray"):
                for item in flow_set(data):
                    if (item.name, name) in done or not item.has_previous or (wanted and item.name not in wanted):
                        continue
                    result, truth = pipeline.run(*item.frames()), item.truth()
                    flows = stage_flows(result.flow, result.stages)
                    row: dict[str, Any] = {"set": data, "frame": item.name, "variant": name}
                    row["core_seconds"] = f"{sum(core for _, core in result.seconds.values()):.1f}"
                    for stage in ("labels", "flow"):
                        found = flow_errors(flows.get(stage, result.flow), truth.flow, truth.occluded).row()
                        errors = {key: found[key] for key in COLUMNS[4:7]}
                        told = {key: "" if value is None else f"{value:.4f}" for key, value in errors.items()}
                        writer.writerow(row | {"stage": stage} | told)
                    file.flush()


if __name__ == "__main__":
    main()
