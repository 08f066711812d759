"""Muon: momentum whose every update is made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

torch.optim.Muon takes matrices alone. Here kernels of any dimension are matrices of a row for each first index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from nic_lightning.errors import UserError, choices

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that moves all singular values towards 1, between .7 and 1.2, in few steps."""
ITERATIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RMS = 0.2
"""What the root mean square of Adam's updates is about: ours are scaled to it (Liu et al. 2025, "Muon is scalable")."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, and scaled so that learning rates are of Adam's size.

    Args:
        params: tensors of two or more dimensions, or groups of them.
        lr: learning rate.
        momentum: below 1.
        weight_decay: decoupled, times the learning rate.
        steps: of the Newton-Schulz iteration.
        iteration: "float32" or "bfloat16", in which that iteration runs; momentum and weights are float32.

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
        iteration: str = "float32",
    ) -> None:
        if not 0 <= momentum < 1 or steps < 1:
            raise UserError(f"Muon takes a momentum of 0 to 1 and steps from 1 on, not {momentum:g} and {steps}.")
        if iteration not in ITERATIONS:
            raise UserError(f"Muon's iteration is {iteration!r}; {choices(iteration, ITERATIONS)}.")
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps}
        super().__init__(params, {**defaults, "iteration": iteration})
        if any(p.ndim < 2 for group in self.param_groups for p in group["params"]):
            raise UserError("Muon makes matrices orthogonal, and a parameter is a vector: give that to Adam.")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also of a checkpoint from before there was a choice of the iteration's precision."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("iteration", "float32")

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
        update = orthogonal(update, group["steps"], ITERATIONS[group["iteration"]])
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """About U V' of a matrix U S V' (m, n): singular values between .7 and 1.2 where they are not tiny.

    The iteration runs in `dtype`. In bfloat16, of which it is robust, it takes less than half the time on processors
    that have such instructions.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()
    x = (x / (x.norm() + 1e-7)).to(dtype).contiguous()
    with torch.autocast(x.device.type, enabled=False):
        for _ in range(steps):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix)
