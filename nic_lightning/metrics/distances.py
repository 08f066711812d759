"""Fréchet distances of a codec's reconstructions from the originals, at every operating point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.metrics.over_ranks import summed

if TYPE_CHECKING:
    from nic_lightning.metrics.fid import PatchFid


class Distances:
    """FID/256 of a data set, one for each point and extractor. Originals, equal for all points, are looked at once.

    Built on every rank for all points, so that all take part when sums are added up, also one without an image.

    Args:
        points: operating points that will be measured.
        extractors: as `metrics/extractors.py` has them; each counts apart, under its own name.
        device: where the extractors run.
    """

    def __init__(
        self, points: Sequence[OperatingPoint], extractors: Sequence[nn.Module], device: str | torch.device = "cpu"
    ) -> None:
        self._metrics: dict[str, list[PatchFid]] = {point.label: [] for point in points}
        if extractors:
            from nic_lightning.metrics.fid import PatchFid  # imports all of torchmetrics, and torchvision with it

            self._metrics = {point.label: [PatchFid(one).to(device) for one in extractors] for point in points}
        self._first = points[0].label if points else ""
        self._rates = {point.label: (0.0, 0, 0) for point in points}
        """Bits per pixel and number of the images that have a patch, and number of all."""

    def add(self, point: OperatingPoint, x: Tensor, x_hat: Tensor, bpp: float) -> None:
        """Add an original and what a file of it decodes to, both (1, 3, H, W) in [0, 1], and the file's rate."""
        if not (metrics := self._metrics[point.label]):
            return
        counts = min(x.shape[-2:]) >= metrics[0].side
        rate, images, all_images = self._rates[point.label]
        self._rates[point.label] = (rate + bpp * counts, images + counts, all_images + 1)
        for metric in metrics:
            if point.label == self._first:
                metric.update(x, real=True)
            metric.update(x_hat.float(), real=False)

    def rows(self, codec: str, dataset: str) -> list[dict[str, Any]]:
        """As `runs.distances.write_distances` takes them. With several ranks all must call it.

        "bpp" is the mean rate of the "images" that have a patch, of "images_in_all".
        """
        found = []
        for label, metrics in self._metrics.items():
            bpp, images, all_images = summed(*self._rates[label]) if metrics else (0.0, 0, 0)
            mean = bpp / images if images else None
            rates = {"bpp": mean, "images": int(images), "images_in_all": int(all_images)}
            for metric, first in zip(metrics, self._metrics[self._first], strict=True):
                metric.take_originals(first)
                result = metric.result()
                place = {"codec": codec, "dataset": dataset, "label": label, "name": result.name}
                measured = {"value": result.value, "patches": result.real, "note": result.note}
                found.append(place | measured | rates)
        return found
