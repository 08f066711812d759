"""Muon: momentum whose every update is made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

torch.optim.Muon takes matrices alone. Here kernels of any dimension are matrices of a row for each first index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nic_lightning.errors import UserError

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that moves all singular values towards 1, between .7 and 1.2, in few steps."""
RMS = 0.2
"""What the root mean square of Adam's updates is about: ours are scaled to it (Liu et al. 2025, "Muon is scalable")."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, and scaled so that learning rates are of Adam's size. All in float32.

    Args:
        params: tensors of two or more dimensions, or groups of them.
        lr: learning rate.
        momentum: below 1.
        weight_decay: decoupled, times the learning rate.
        steps: of the Newton-Schulz iteration.

    Raises:
        UserError: a parameter is a vector, or an argument is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
    ) -> None:
        if not 0 <= momentum < 1 or steps < 1:
            raise UserError(f"Muon takes a momentum of 0 to 1 and steps from 1 on, not {momentum:g} and {steps}.")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})
        if any(p.ndim < 2 for group in self.param_groups for p in group["params"]):
            raise UserError("Muon makes matrices orthogonal, and a parameter is a vector: give that to Adam.")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"]).reshape(len(parameter), -1)
        scale = RMS * max(update.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(update, group["steps"]).reshape(parameter.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About U V' of a matrix U S V' (m, n), in float32: singular values between .7 and 1.2 where they are not tiny."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = x / (x.norm() + 1e-7)
    with torch.autocast(x.device.type, enabled=False):
        for _ in range(steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix)
