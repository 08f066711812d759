"""Labels with another cost of displacements that leave the frame: two frames, three, three filtered."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from nic_lightning.data.flow_sets import flow_set
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.filtering import BilateralFilter
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.settings import preset
from nic_lightning.flow.triple import MINIMUM, TWO_FRAMES
from nic_lightning.metrics.flow_errors import flow_errors

PLAIN = {"strategy": "none", "interpolation": "none", "refinement": None}
VARIANTS = {
    "two frames": {"lambdas": TWO_FRAMES, "cost_filter": None},
    "three frames": {"lambdas": MINIMUM, "cost_filter": None},
    "three frames, filtered": {"lambdas": MINIMUM, "cost_filter": BilateralFilter()},
}


def main() -> None:
    path, outside = Path(sys.argv[1]), int(sys.argv[2])
    network = FeatureNetwork.from_file(preset("dcflow").weights_file())
    columns = ["outside_cost", "variant", "frame", "epe_all", "epe_noc", "epe_occ", "n_all", "n_noc", "n_occ"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for variant, settings in VARIANTS.items():
            pipeline = Pipeline(preset("dcflow", outside_cost=outside, **PLAIN, **settings), network)
            for item in flow_set("sintel_final"):
                if item.has_previous:
                    truth = item.truth()
                    row = flow_errors(pipeline.run(*item.frames()).flow, truth.flow, truth.occluded).row()
                    row = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
                    writer.writerow(row | {"outside_cost": outside, "variant": variant, "frame": item.name})
                    file.flush()
            del pipeline


if __name__ == "__main__":
    main()
