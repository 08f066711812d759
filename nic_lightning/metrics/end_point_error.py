"""End-point error and outliers of optical flow as a torchmetrics class that adds up over ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from nic_lightning.metrics.flow_errors import REGIONS, VISIBILITY, flow_errors

AVERAGES = ("pooled", "image", "sequence")
_MEASURES = tuple(f"epe_{name}" for name in REGIONS) + tuple(f"fl_{name}" for name in VISIBILITY)
_DENSITIES = tuple(f"density_{name}" for name in REGIONS)


class EndPointError(Metric):
    """End-point errors in pixels, outliers and densities in per cent, by region (`flow_errors.REGIONS`).

    `compute` gives `<measure>/<average>`, such as "epe_occ/sequence", "fl_all/pooled", "density_all/pooled": over all
    pixels, over images, and over sequences alike. A region without any pixel is NaN; images without such pixels do not
    enter its mean. States are sums in float64 and counts in int64.

    Args:
        scenes: names of the sequences, in any order but the same on all ranks.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = False
    sums: Tensor
    counts: Tensor
    known: Tensor
    image_means: Tensor
    images: Tensor

    def __init__(self, scenes: Sequence[str] = ("",)) -> None:
        super().__init__()
        self.scenes = {name: place for place, name in enumerate(scenes)}
        per_scene = (len(self.scenes), len(_MEASURES))
        self.add_state("sums", torch.zeros(per_scene, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(per_scene, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("known", torch.zeros(len(REGIONS), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("image_means", torch.zeros(len(_MEASURES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(len(_MEASURES), dtype=torch.long), dist_reduce_fx="sum")

    def update(
        self,
        flow: Tensor,
        truth: Tensor,
        occluded: Tensor | None = None,
        excluded: Tensor | None = None,
        scene: str = "",
    ) -> None:
        """Add one image.

        Args:
            flow: estimate (H, W, 2) in pixels, NaN where there is none.
            truth: true flow of the same shape, NaN where unknown.
            occluded: mask (H, W).
            excluded: mask (H, W) of pixels to leave out.
            scene: the sequence it is of, one of `scenes`.

        Raises:
            ValueError: shapes differ, or there is no such scene.
        """
        if scene not in self.scenes:
            raise ValueError(f"There is no scene {scene!r}; give all of them when the metric is made.")
        masks = [None if mask is None else mask.cpu().numpy() for mask in (occluded, excluded)]
        found = flow_errors(flow.cpu().numpy(), truth.cpu().numpy(), *masks)
        errors = [found.error.get(name, 0.0) for name in REGIONS]
        outliers = [100.0 * found.outliers.get(name, 0) for name in VISIBILITY]
        counts = [found.count.get(name, 0) for name in (*REGIONS, *VISIBILITY)]
        added, pixels = self.sums.new_tensor(errors + outliers), self.counts.new_tensor(counts)
        place = self.scenes[scene]
        self.sums[place] += added
        self.counts[place] += pixels
        self.known += self.known.new_tensor([found.known.get(name, 0) for name in REGIONS])
        there = pixels > 0
        self.image_means += torch.where(there, added / pixels.clamp(min=1), 0.0)
        self.images += there

    def compute(self) -> dict[str, Tensor]:
        """Every measure by every average, and densities over all pixels."""
        means = {
            "pooled": self.sums.sum(0) / self.counts.sum(0),
            "image": self.image_means / self.images,
            "sequence": (self.sums / self.counts).nanmean(0),
        }
        found = {
            f"{name}/{kind}": means[kind][place].float() for kind in AVERAGES for place, name in enumerate(_MEASURES)
        }
        density = 100 * self.counts.sum(0)[: len(REGIONS)] / self.known
        return found | {f"{name}/pooled": density[place].float() for place, name in enumerate(_DENSITIES)}
