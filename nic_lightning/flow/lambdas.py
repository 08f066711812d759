"""Weights of the triple cost that are learned with the features, or on top of given ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nic_lightning.losses.triple_cost import candidate_costs, matching_loss, triple_cost


class LearnedLambdas(nn.Module):
    """(lambda1, lambda2, lambda3) of Eq. 5.8, at least 0 and 1 in sum, as softmax of three numbers; and a temperature.

    They begin at 1/3 each. Their common scale would say the same as the temperature, so it is fixed: costs of the
    pipeline then stay comparable to its smoothness, whatever the weights.

    Args:
        temperature: in units of the cost, at the start.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(3))
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())

    @property
    def lambdas(self) -> Tensor:
        """(3,)."""
        return self.logits.softmax(0)

    def forward(
        self, previous: Tensor, current: Tensor, following: Tensor, truth: Tensor, valid: Tensor, radius: int
    ) -> Tensor:
        """-log P(true motion) in nats, a mean over pixels; gradients reach the weights, not the features.

        Args:
            previous: features of frame t - 1, (N, C, h, w), cut so that a pixel that stands still has its match at its
                own place in all three frames.
            current: of frame t.
            following: of frame t + 1.
            truth: true motion from t to t + 1 in whole pixels, x and y, (N, 2, h, w) int64.
            valid: where it is known, hidden pixels too, (N, h, w) bool.
            radius: of the candidates; pixels whose motion is larger are left out, and so is a border as wide.
        """
        with torch.no_grad():
            forward = candidate_costs(current, following, radius)
            backward = candidate_costs(current, previous, radius, -1)
        inner = (slice(radius, truth.shape[2] - radius), slice(radius, truth.shape[3] - radius))
        truth = truth[..., *inner]
        counted = valid[:, *inner] & (truth.abs().amax(1) <= radius)
        index = (truth[:, 1] + radius) * (2 * radius + 1) + truth[:, 0] + radius
        costs = triple_cost(forward.movedim(1, -1)[counted], backward.movedim(1, -1)[counted], self.lambdas)
        return matching_loss(costs, index[counted], self.log_temperature.exp())
