"""Networks and tables that turn a lambda into per-channel factors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.layers.precision import without_autocast


class ModulationNet(nn.Module):
    """Per-channel factor as a function of lambda (MAE, thesis section 2.3.3; layer sizes as in the released code).

        lambda / lambda_max -> Linear(1, hidden) -> ReLU -> Linear(hidden, channels) -> exp -> (1, channels, 1, 1)

    The exponential keeps factors positive; a zero last layer gives factors of exactly 1, the unmodulated autoencoder.
    With `log_from`, the lowest lambda, the input is log(lambda / log_from) / log(lambda_max / log_from) instead, which
    spreads a ladder of lambdas evenly over [0, 1]; factors then begin as powers of lambda (our own).
    """

    def __init__(self, channels: int, lambda_max: float, hidden: int = 50, log_from: float | None = None):
        super().__init__()
        self.lambda_max, self.log_from = float(lambda_max), log_from
        self.hidden = nn.Linear(1, hidden)
        self.output = nn.Linear(hidden, channels)
        for layer in (self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, lmbda: float | Tensor) -> Tensor:
        """Factors (1, channels, 1, 1), all above 0; of one lambda an image, (N,), factors (N, channels, 1, 1)."""
        weight = self.output.weight
        with without_autocast(weight.device.type):
            values = lmbda.tolist() if isinstance(lmbda, Tensor) else [lmbda]
            relative = weight.new_tensor([[self._relative(value)] for value in values])
            return torch.exp(self.output(F.relu(self.hidden(relative))))[:, :, None, None]

    def _relative(self, lmbda: float) -> float:
        if self.log_from is None or self.log_from == self.lambda_max:
            return lmbda / self.lambda_max
        return math.log(lmbda / self.log_from) / math.log(self.lambda_max / self.log_from)


class ConditionalAffine(nn.Module):
    """Scale softplus(u) and bias v after a bias-free convolution, one row a lambda (Choi et al. 2019, eq. 8).

    Y_k = softplus(u_k . onehot(lambda)) * (X * W)_k + v_k . onehot(lambda)
    """

    def __init__(self, channels: int, levels: int):
        super().__init__()
        one = math.log(math.expm1(1.0))  # softplus(one) == 1
        self.scale = nn.Parameter(torch.full((levels, channels), one))
        self.bias = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Scale and shift (N, C, H, W) by the row of `level`, or by its first C entries."""
        scale, bias = self.scale[level, : x.shape[1]], self.bias[level, : x.shape[1]]
        return x * F.softplus(scale)[:, None, None] + bias[:, None, None]
