"""How well the triple cost tells the true motion from others nearby: a differentiable objective for its weights.

    C(p, v) = l1 * C_fr(p, v) + l2 * C_bk(p, -v) + l3 * min(C_fr(p, v), C_bk(p, -v))       (thesis Eq. 5.8)

The thesis sets (l1, l2, l3) by hand (section 5.6.1). Here exp(-C / temperature), normalised over the candidates, is a
probability of motions, as the thesis reads costs (section 5.4: C is proportional to -log P), and the weights are those
under which true motions are most probable. This objective is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def candidate_costs(first: Tensor, second: Tensor, radius: int, sign: int = 1) -> Tensor:
    """1 - <u_p, u'_{p + sign * e}> for all |e_x|, |e_y| <= radius, at all pixels at least `radius` from the border.

    Args:
        first: unit-length features (N, C, h, w).
        second: of another frame, of the same shape.
        radius: in pixels.
        sign: 1, or -1 for C_bk(p, -v).

    Returns: (N, K, h - 2 radius, w - 2 radius), K = (2 radius + 1)^2, e_y before e_x.
    """
    height, width = first.shape[2:]
    inner = first[..., radius : height - radius, radius : width - radius].float()
    costs = []
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            top, left = radius + sign * dy, radius + sign * dx
            other = second[..., top : top + inner.shape[2], left : left + inner.shape[3]]
            costs.append(1 - (inner * other).sum(1))
    return torch.stack(costs, 1)


def triple_cost(forward: Tensor, backward: Tensor, lambdas: Tensor) -> Tensor:
    """Equation 5.8 of costs at equal motions; `lambdas` is (3,)."""
    return lambdas[0] * forward + lambdas[1] * backward + lambdas[2] * torch.minimum(forward, backward)


def matching_loss(costs: Tensor, truth: Tensor, temperature: Tensor) -> Tensor:
    """Mean of -log P(true motion) in nats, 0 without any pixel.

    Args:
        costs: of M pixels at K candidates, (M, K).
        truth: index of the true one, (M,) int64.
        temperature: above 0, in units of the cost.
    """
    return F.cross_entropy(-costs / temperature, truth, reduction="sum") / max(len(truth), 1)
