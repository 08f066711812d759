"""Translations judged in the features of one network: Fréchet and kernel distance, and the domain they look like."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.metrics.domains import DomainClassifier, Moments
from nic_lightning.metrics.fid import Fid
from nic_lightning.metrics.kid import Kid
from nic_lightning.metrics.over_ranks import summed


class FeatureJudge:
    """What one extractor says of translations into each domain, against real training images of it.

    First `add_real` training images of all domains, then `settle`; then, for each task, `add` outputs and take
    `result`. With several ranks each adds its share, and all call the others.

    Args:
        extractor: as `metrics/extractors.py` has them.
        domains: how many.
    """

    def __init__(self, extractor: nn.Module, domains: int, device: str | torch.device = "cpu") -> None:
        self.extractor = extractor.eval().requires_grad_(False).to(device)
        self.name = str(extractor.extractor_name)
        features = int(extractor.num_features)  # type: ignore[arg-type]
        self._fids = [_GivenFeatures(features, self.name).to(device) for _ in range(domains)]
        self._kids = [Kid() for _ in range(domains)]
        self._moments = [Moments(features) for _ in range(domains)]
        self._classifier: DomainClassifier | None = None
        self._right = [0, 0]

    @torch.no_grad()
    def add_real(self, pixels: Tensor, domain: int) -> None:
        """Add training images of a domain, uint8 (N, 3, H, W)."""
        features = self.extractor(pixels)
        self._fids[domain].update(features, real=True)
        self._kids[domain].update(features, real=True)
        self._moments[domain].update(features)

    def settle(self) -> None:
        """All training images are there."""
        self._classifier = DomainClassifier([moments.together() for moments in self._moments])

    @torch.no_grad()
    def add(self, pixels: Tensor, domain: int) -> None:
        """Add outputs of the current task, uint8 (N, 3, H, W), which should look like images of `domain`."""
        assert self._classifier is not None
        features = self.extractor(pixels)
        self._fids[domain].update(features, real=False)
        self._kids[domain].update(features, real=False)
        hits = self._classifier(features) == domain
        self._right = [self._right[0] + int(hits.sum()), self._right[1] + len(hits)]

    def result(self, domain: int) -> tuple[dict[str, Any], list[str]]:
        """Values of the task into `domain` by name, and what makes them doubtful; the next task can begin."""
        found, (right, count) = self._fids[domain].result(), summed(*self._right)
        values = {
            found.name: found.value,
            f"kid_{self.name}": self._kids[domain].compute(),
            f"accuracy_{self.name}": right / count if count else float("nan"),
        }
        self._fids[domain].reset()
        self._kids[domain].reset_fake()
        self._right = [0, 0]
        return values, [] if found.note is None else [f"{found.name}: {found.note}"]


class _GivenFeatures(Fid):
    """FID of features that were computed already; originals outlast a reset."""

    def __init__(self, features: int, name: str) -> None:
        super().__init__(_Identity(features, name))
        self.reset_real_features = False

    def update(self, images: Tensor, real: bool) -> None:
        """Add features (N, d)."""
        super(Fid, self).update(images, real)


class _Identity(nn.Module):
    def __init__(self, features: int, name: str) -> None:
        super().__init__()
        self.num_features, self.extractor_name = features, name

    def forward(self, features: Tensor) -> Tensor:
        return features
