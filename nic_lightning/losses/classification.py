"""Rate-accuracy loss: `lambda * cross entropy + R`, rate in bits per input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from nic_lightning.losses.rate_distortion import bits


class Decision(Protocol):
    """What the loss needs of a codec's output: log probabilities (N, K) and the likelihoods of all that is sent."""

    x_hat: Tensor
    likelihoods: dict[str, Tensor]


@dataclass
class RateAccuracy:
    """Scalars of one batch at one operating point."""

    loss: Tensor
    bits: Tensor
    """Estimated rate, bits per input."""
    cross_entropy: Tensor
    """Nats."""
    accuracy: Tensor
    """Part of the inputs whose most probable class is the true one."""


def rate_accuracy(output: Decision, labels: Tensor, lmbda: float) -> RateAccuracy:
    """Loss lmbda * cross entropy [nats] + bits of inputs with labels (N,) (Ulhaq and Bajić 2023)."""
    from torchmetrics.functional.classification import multiclass_accuracy

    rate = bits(output.likelihoods) / len(labels)
    cost = F.nll_loss(output.x_hat.float(), labels)
    hits = multiclass_accuracy(output.x_hat.detach(), labels, output.x_hat.shape[1], average="micro")
    return RateAccuracy(lmbda * cost + rate, rate, cost, hits)
