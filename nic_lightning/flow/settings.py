"""Settings of the flow pipeline, and the three published ones."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from nic_lightning.errors import UserError
from nic_lightning.flow.cost_volume import OUTSIDE
from nic_lightning.flow.filtering import BilateralFilter
from nic_lightning.flow.refinement import check_refinement
from nic_lightning.flow.semi_global_matching import Potts, TruncatedL1
from nic_lightning.flow.triple import MINIMUM, TWO_FRAMES, Lambdas, weighting_table
from nic_lightning.flow.weights import load_lambdas

DCFLOW_NAMES = ("dcflow_{}_weights.npz", "dcflow_{}.caffemodel", "{}.caffemodel")
"""Files of DCFlow's weights below $NIC_DATA/weights; the last is what its authors call it."""
STRATEGIES = ("none", "check", "large_regions", "two_weightings", "by_cost", "three_frames")
INTERPOLATIONS = ("none", "ric", "edge_aware")


@dataclass(frozen=True)
class FlowConfig:
    """One pipeline; what a stage does not need, it ignores.

    Attributes:
        weights: DCFlow's features: a `.npz` or `.caffemodel` file, or "sintel" or "kitti", looked for in
            $NIC_DATA/weights; or features of your own: a run folder of `nic-train experiment=flow_features`, its
            checkpoint, or its `features.npz`.
        ratio: full-size pixels to one pixel of the working scale, along each axis. Labels are whole at that scale.
            "auto" takes 1 for frames that move by 13 pixels or less, 3 for others; see `range.find_scale`.
        max_displacement: full-size pixels along each axis; "auto" looks for the range at a third of the scale first.
        lambdas: weights of the triple cost, Eq. 5.8; (1, 0, 0) uses two frames. The thesis names (0, 0, 1) the best,
            for winner-takes-all, and no weights for the whole pipeline. In a config also "learned": those that the file
            of `weights` holds.
        outside_cost: of displacements that leave the frame, 0 to 254 where 127 is that of features at right angles.
            DCFlow's 64 is below what blurred or filtered matches cost, so that labels leave the frame; see
            experiments/timcflow_sintel.
        cost_filter: bilateral filter of the volume, or None.
        smoothness: pairwise term of semi-global matching; None takes the cheapest label of each pixel.
        strategy: which matches to keep, see `consistency`; "check" and "by_cost" (strategy 3) use a two-frame backward
            flow, "three_frames" (4) one from three frames, "two_weightings" (2) the weights `other_lambdas` besides.
        other_lambdas: of "two_weightings".
        unique: rule of the check for shared targets.
        interpolation: makes sparse matches dense; with "none", flow that is not kept stays unknown (NaN).
        bilinear: labels come to full size bilinearly, not as blocks. Where a strategy drops some, always as blocks.
        refinement: arguments of the variational refinement, or None to leave it out.
        max_memory: bytes the volumes may take, or None for what the machine, or the GPU, has left.
        device: where features are made and matched: "cpu", "cuda", "cuda:1", or "auto": a GPU where there is one.
    """

    weights: str = "sintel"
    ratio: int | Literal["auto"] = 3
    max_displacement: int | Literal["auto"] = 242
    lambdas: Lambdas = MINIMUM
    outside_cost: int = OUTSIDE
    cost_filter: BilateralFilter | None = None
    smoothness: Potts | TruncatedL1 | None = field(default_factory=Potts)
    strategy: str = "none"
    other_lambdas: Lambdas = (0.5, 0.5, 0.0)
    unique: str = "official"
    interpolation: str = "none"
    bilinear: bool = True
    refinement: Mapping[str, Any] | None = None
    max_memory: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("strategy", self.strategy, STRATEGIES),
            ("interpolation", self.interpolation, INTERPOLATIONS),
        ):
            if value not in choices:
                raise UserError(f"There is no {name} '{value}'; there are {', '.join(choices)}.")
        ratio = 3 if self.ratio == "auto" else self.ratio
        if not isinstance(ratio, int) or ratio < 1:
            raise UserError(f"The working scale is 1/ratio with a ratio of 1 or more, or 'auto', not {self.ratio}.")
        if self.max_displacement != "auto" and not ratio <= self.max_displacement < 100 * ratio:
            raise UserError(
                f"max_displacement is at least the ratio and below 100 ratios, or 'auto', not {self.max_displacement}."
            )
        check_refinement(self.refinement or {})
        if not 0 <= self.outside_cost <= 254:
            raise UserError(f"outside_cost is a cost from 0 to 254, not {self.outside_cost}.")
        if not re.fullmatch(r"cpu|auto|cuda(:\d{1,3})?", self.device):
            raise UserError(f"A device is cpu, cuda, cuda:1 or auto, not {self.device!r}.")
        if self.lambdas == "learned":
            object.__setattr__(self, "lambdas", load_lambdas(self.weights_file()))
        if isinstance(self.lambdas, str):
            raise UserError(f"lambdas are three numbers, or 'learned', not {self.lambdas!r}.")
        weighting_table(self.lambdas)
        weighting_table(self.other_lambdas)

    @property
    def two_frames(self) -> bool:
        """Whether the cost ignores the previous frame."""
        return tuple(self.lambdas) == TWO_FRAMES

    def weights_file(self) -> Path:
        """Where the feature weights are, or should be."""
        if self.weights not in ("sintel", "kitti"):
            return Path(self.weights)
        folder = Path(os.environ.get("NIC_DATA", "data")) / "weights"
        places = [folder / name.format(self.weights) for name in DCFLOW_NAMES]
        return next((place for place in places if place.is_file()), places[-1])


PRESETS = {
    "dcflow": FlowConfig(lambdas=TWO_FRAMES, strategy="check", interpolation="ric", refinement={}),
    "timcflow": FlowConfig(strategy="by_cost", interpolation="ric", refinement={}),
    "simplified": FlowConfig(
        ratio="auto", outside_cost=100, cost_filter=BilateralFilter(), smoothness=Potts(10, 1200), refinement={}
    ),
}
"""DCFlow (Xu et al. 2017); TIMCflow (thesis Fig. 5.3 b, strategy 3); its simplified pipeline (Fig. 5.6), where the
thesis leaves open what experiments/timcflow_simplified has chosen."""


def preset(name: str, **changes: Any) -> FlowConfig:
    """A published pipeline with some settings changed.

    Raises:
        UserError: no such preset or setting.
    """
    if name not in PRESETS:
        raise UserError(f"There is no flow pipeline '{name}'; there are {', '.join(PRESETS)}.")
    unknown = sorted(set(changes) - set(FlowConfig.__dataclass_fields__))
    if unknown:
        raise UserError(f"The flow pipeline has no setting '{unknown[0]}'; see FlowConfig.")
    return replace(PRESETS[name], **changes)
