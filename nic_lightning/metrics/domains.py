"""Which domain an image looks like: a linear discriminant in the features of a network, of real images' moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed

SHRINKAGE = 0.1
"""Share of a sphere in the covariance, without which few images of many features have no inverse."""


class Moments:
    """Number, sum and outer products of features, float64; those of ranks add up."""

    def __init__(self, features: int) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.total = torch.zeros(features, dtype=torch.float64)
        self.outer = torch.zeros(features, features, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Add features (N, d)."""
        values = features.detach().double().cpu()
        self.count += len(values)
        self.total += values.sum(0)
        self.outer += values.T @ values

    def together(self) -> Moments:
        """Those of all ranks, which must all call it."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return self
        shares: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(shares, (self.count, self.total, self.outer))
        summed = Moments(len(self.total))
        for name, values in zip(("count", "total", "outer"), zip(*shares, strict=True), strict=True):
            setattr(summed, name, torch.stack(values).sum(0))
        return summed


class DomainClassifier:
    """Linear discriminant analysis: one mean for each domain, one covariance for all (Fisher 1936; Friedman 1989).

    It follows from moments of real training images alone, so nothing is trained and nothing drawn. How good it is tell
    real validation images, whose accuracy stands beside that of translations: only the two together say anything.
    A tenth of the covariance is shrunk to a sphere of the same trace; priors are equal.
    """

    def __init__(self, domains: Sequence[Moments]) -> None:
        means = torch.stack([d.total / d.count for d in domains])
        scatter = sum(d.outer - torch.outer(d.total, d.total) / d.count for d in domains)
        covariance = torch.as_tensor(scatter) / sum(float(d.count) for d in domains)
        dim = len(covariance)
        sphere = torch.eye(dim, dtype=torch.float64) * covariance.trace() / dim
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * sphere
        self.weight = torch.linalg.lstsq(covariance, means.T).solution
        self.bias = -0.5 * (means * self.weight.T).sum(1)

    def __call__(self, features: Tensor) -> Tensor:
        """Index of the domain of each of features (N, d); shape (N,), on the CPU."""
        return (features.detach().double().cpu() @ self.weight + self.bias).argmax(1)
