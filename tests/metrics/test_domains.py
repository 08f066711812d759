from __future__ import annotations

import pytest
import torch

from nic_lightning.metrics.domains import DomainClassifier, Moments


def test_the_classifier_is_fishers():
    """Two domains of equal covariance: the border lies half-way, whatever the correlations."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[2.0, 0.0], [1.9, 0.4]], dtype=torch.float64)
    domains = [torch.randn(500, 2, generator=generator, dtype=torch.float64) @ mixing.T for _ in range(2)]
    domains[1] = domains[1] + torch.tensor([0.0, 1.5])
    moments = []
    for features in domains:
        moments.append(Moments(2))
        for part in features.split(33):
            moments[-1].update(part)
    classifier = DomainClassifier(moments)
    half_way = torch.stack([d.mean(0) for d in domains]).mean(0)
    score = half_way @ classifier.weight + classifier.bias
    assert score[0] == pytest.approx(float(score[1]), abs=1e-9)
    right = [float((classifier(d) == k).double().mean()) for k, d in enumerate(domains)]
    assert min(right) > 0.85  # by distance to the means alone it is 0.65
    flat = Moments(2)
    flat.update(torch.zeros(3, 2))
    lifted = Moments(2)
    lifted.update(torch.ones(3, 2))
    assert DomainClassifier([flat, lifted])(torch.tensor([[0.1, 0.1], [0.9, 0.9]])).shape == (2,)
