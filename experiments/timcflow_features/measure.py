"""End-point errors with untrained, own and DCFlow's features, and with several weights of the triple cost.

python experiments/timcflow_features/measure.py RUN LAMBDA_RUN [FOLDER]

RUN trained features and weights of the triple cost; LAMBDA_RUN only the latter, for DCFlow's features. measured.csv and
the table of README.md in FOLDER, this one if not given, are made anew.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nic_lightning.data.flow_sets import FlowItem, flow_set
from nic_lightning.flow.features import FeatureNetwork
from nic_lightning.flow.pipeline import Pipeline
from nic_lightning.flow.semi_global_matching import Potts
from nic_lightning.flow.settings import FlowConfig
from nic_lightning.flow.triple import MINIMUM, TWO_FRAMES
from nic_lightning.flow.weights import load_lambdas
from nic_lightning.metrics.flow_errors import flow_errors

HOME = Path(__file__).resolve().parent
COLUMNS = ("frame", "features", "lambdas", "labels", "epe_all", "epe_noc", "epe_occ")
FRAMES: dict[str, tuple[str, dict[str, int]]] = {
    "RubberWhale": ("middlebury", {"ratio": 1, "max_displacement": 12}),
    "alley_1_0002": ("sintel_final", {"ratio": 3, "max_displacement": 60}),
    "bandage_1_0035": ("sintel_final", {"ratio": 3, "max_displacement": 60}),
}
"""Data set, scale and range: small motion is lost at a third of the scale."""
BEGIN, END = "<!-- made by measure.py: begin -->", "<!-- made by measure.py: end -->"


class Remembering(FeatureNetwork):
    """Features of a frame are the same for all lambdas and labels, and take longer than these."""

    def forward(self, x: Tensor) -> Tensor:
        """As the network's, computed once for each input."""
        self.known = getattr(self, "known", {})
        key = x.numpy().tobytes()
        if key not in self.known:
            self.known[key] = super().forward(x)
        return self.known[key]


def main() -> None:
    run, lambda_run = sys.argv[1:3]
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else HOME
    torch.manual_seed(0)
    networks = {
        "untrained": (Remembering().eval(), None),
        "trained here": (Remembering.from_file(run), load_lambdas(run)),
        "DCFlow's": (Remembering.from_file(FlowConfig().weights_file()), load_lambdas(lambda_run)),
    }
    rows = []
    for frame, (dataset, scale) in FRAMES.items():
        item = next(i for i in flow_set(dataset) if i.name == frame)
        for features, (network, learned) in networks.items():
            weights = {"two frames": TWO_FRAMES, "minimum": MINIMUM, "learned": learned}
            for name, lambdas in weights.items():
                for labels, smoothness in (("cheapest", None), ("semi-global", Potts())):
                    if lambdas is not None:
                        config = FlowConfig(lambdas=lambdas, smoothness=smoothness, **scale)  # pyright: ignore[reportArgumentType]
                        told = name if name != "learned" else " ".join(f"{value:.3f}" for value in lambdas)
                        rows.append(dict(zip(COLUMNS, (frame, features, told, labels), strict=False)))
                        rows[-1] |= errors(network, config, item)
    with (folder / "measured.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    readme = folder / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{rest.split(END)[1]}")


def errors(network: FeatureNetwork, config: FlowConfig, item: FlowItem) -> dict[str, str]:
    """Errors in full-size pixels of labels that come to full size bilinearly; empty where a set does not tell."""
    previous, current, following, _ = item.frames()
    truth = item.truth()
    found = Pipeline(config, network).run(previous, current, following).flow
    row = flow_errors(found, truth.flow, truth.occluded).row()
    return {name: "" if row[name] is None else f"{row[name]:.3f}" for name in COLUMNS[4:]}


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| frame | features | lambdas | labels | all | noc | occ |", "|---|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row[name] or "-" for name in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
