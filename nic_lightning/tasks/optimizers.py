"""Optimisers by `task.optimizer`: each takes the task's named groups of parameters and gives one torch optimiser.

A function here is a config's `_target_` with `_partial_: true`; one of your own has the same signature. Learning rates
come from the task. Entropy models' quantiles, which only the auxiliary loss moves, are always Adam's: their gradients
are signs, for which decay of weights and matrix methods mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nic_lightning.errors import UserError
from nic_lightning.tasks.base import QUANTILES
from nic_lightning.tasks.muon import Muon

_MATRICES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


@dataclass
class Group:
    """Parameters that share a learning rate."""

    name: str
    learning_rate: float
    parameters: list[Tensor] = field(default_factory=list)
    kernels: set[Tensor] = field(default_factory=set)
    """Those of them that are kernels or matrices of layers: neither biases, nor of entropy models, nor of GDNs."""


Make = Callable[[Sequence[Group], bool], torch.optim.Optimizer]
"""Of groups, and whether fused steps may be used."""


def kernels_of(model: nn.Module) -> set[Tensor]:
    """Weights of convolutions and linear layers, however they are parametrised."""
    return {
        parameter
        for module in model.modules()
        if isinstance(module, _MATRICES)
        for parameter in module.parameters()
        if parameter.ndim >= 2
    }


def adam(
    groups: Sequence[Group], fused: bool, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, ICLR 2015)."""
    return torch.optim.Adam(_plain(groups), betas=(beta1, beta2), eps=eps, fused=fused)


def adamw(
    groups: Sequence[Group],
    fused: bool,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), of kernels alone.

    Args:
        groups: parameters and learning rates.
        fused: whether fused steps may be used.
        weight_decay: times the learning rate, what of a kernel is taken away in each step.
        beta1: decay of the mean gradient.
        beta2: decay of the mean square of the gradient.
        eps: added to its root.
    """
    _not_negative("weight_decay", weight_decay)
    made = _split(groups, lambda group, parameter: parameter in group.kernels, "without decay")
    for group in made:
        group["weight_decay"] = weight_decay if group.pop("chosen") else 0.0
    return torch.optim.AdamW(made, betas=(beta1, beta2), eps=eps, fused=fused)


def muon(
    groups: Sequence[Group],
    fused: bool,
    momentum: float = 0.95,
    weight_decay: float = 0.0,
    steps: int = 5,
    iteration: str = "float32",
) -> torch.optim.Optimizer:
    """Muon of kernels, Adam of the rest; steps are as long as Adam's, so learning rates are of its size.

    Args:
        groups: parameters and learning rates.
        fused: whether Adam's steps may be fused.
        momentum: of the gradients, Nesterov's.
        weight_decay: of kernels, times the learning rate.
        steps: of the iteration that makes an update orthogonal.
        iteration: what that runs in, "float32" or "bfloat16".
    """
    _not_negative("weight_decay", weight_decay)
    made = _split(groups, lambda group, parameter: parameter in group.kernels, "by Adam")
    chosen = [group for group in made if group.pop("chosen")]
    others = [group for group in made if group not in chosen]
    if not chosen:
        raise UserError("task.optimizer is muon, and the codec has no kernels that are trained: take adam.")
    return Together(
        [Muon(chosen, momentum=momentum, weight_decay=weight_decay, steps=steps, iteration=iteration)]
        + ([torch.optim.Adam(others, fused=fused)] if others else [])
    )


def prodigy(
    groups: Sequence[Group], fused: bool, weight_decay: float = 0.0, d_coef: float = 1.0, slice_p: int = 11
) -> torch.optim.Optimizer:
    """Prodigy (Mishchenko and Defazio, ICML 2024), which finds the step's length itself; learning_rate is then 1.

    Args:
        groups: parameters and learning rates, which are factors here.
        fused: whether Adam's steps, of the quantiles, may be fused.
        weight_decay: decoupled, of all parameters but the quantiles.
        d_coef: factor of the length that it finds; .5 or 2 where that is too long or too short.
        slice_p: the length is found from each so manieth parameter, which saves memory.
    """
    try:
        from prodigyopt import Prodigy
    except ImportError:
        raise UserError(
            "task.optimizer is prodigy, and the package prodigyopt is not installed: pip install "
            "'nic_lightning[optimizers]'."
        ) from None
    _not_negative("weight_decay", weight_decay)
    network = [group for group in groups if group.name != QUANTILES]
    others = [group for group in groups if group.name == QUANTILES]
    make: Any = Prodigy  # whose annotations are narrower than what it takes
    found = make(
        _plain(network), lr=1.0, weight_decay=weight_decay, d_coef=d_coef, slice_p=slice_p, use_bias_correction=True,
        safeguard_warmup=True,
    )  # fmt: skip
    return Together([found] + ([torch.optim.Adam(_plain(others), fused=fused)] if others else []))


def schedule_free(
    groups: Sequence[Group],
    fused: bool,
    weight_decay: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    warmup: int = 0,
) -> torch.optim.Optimizer:
    """Schedule-Free AdamW (Defazio et al., NeurIPS 2024): a mean of all steps in place of a schedule.

    Args:
        groups: parameters and learning rates.
        fused: whether Adam's steps, of the quantiles, may be fused.
        weight_decay: decoupled, of kernels alone.
        beta1: how far gradients are taken from the mean towards the last step; above 0.
        beta2: decay of the mean square of the gradient.
        warmup: steps in which the learning rate rises linearly.
    """
    try:
        from schedulefree import AdamWScheduleFree
    except ImportError:
        raise UserError(
            "task.optimizer is schedule_free, and the package schedulefree is not installed: pip install "
            "'nic_lightning[optimizers]'."
        ) from None
    _not_negative("weight_decay", weight_decay)
    _not_negative("warmup", warmup)
    if not 0 < beta1 < 1:
        raise UserError(f"task.optimizer.beta1 is {beta1:g}; give a number above 0 and below 1, such as .9.")
    made = _split(groups, lambda group, parameter: parameter in group.kernels, "without decay")
    others = [group for group in made if group["name"] == QUANTILES]
    network = [group for group in made if group["name"] != QUANTILES]
    for group in network:
        group["weight_decay"] = weight_decay if group["chosen"] else 0.0
    for group in made:
        del group["chosen"]
    free = AdamWScheduleFree(network, betas=(beta1, beta2), warmup_steps=warmup)
    free.train()  # for good: averages are read, and never put in its parameters' place
    return ScheduleFree([free] + ([torch.optim.Adam(others, fused=fused)] if others else []))


class Together(torch.optim.Optimizer):
    """Several optimisers of different parameters as one: one list of groups, one step, one state."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._join()

    def _join(self) -> None:
        """Let schedules change the learning rates that the parts use."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The parts' states."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Inverse of `state_dict`; UserError for the state of another optimiser."""
        parts = state_dict.get("parts")
        if not isinstance(parts, list) or len(parts) != len(self.parts):
            raise UserError("The checkpoint was made with another task.optimizer: name that one, or fresh=true.")
        for part, state in zip(self.parts, parts, strict=True):
            part.load_state_dict(state)
        self._join()


class ScheduleFree(Together):
    """Schedule-Free as the first part; its parameters are where gradients are taken, its averages what is used."""

    @torch.no_grad()
    def averages(self) -> dict[Tensor, Tensor]:
        """The averages by parameter, as the package's `eval()` finds them; none before the first step."""
        states = self.parts[0].state
        return {
            parameter: parameter.lerp(states[parameter]["z"], 1 - 1 / group["betas"][0])
            for group in self.parts[0].param_groups
            for parameter in group["params"]
            if "z" in states.get(parameter, {})
        }


def _plain(groups: Iterable[Group]) -> list[dict[str, Any]]:
    return [
        {"params": list(group.parameters), "lr": group.learning_rate, "name": group.name}
        for group in groups
        if group.parameters
    ]


def _split(groups: Sequence[Group], choose: Callable[[Group, Tensor], bool], suffix: str) -> list[dict[str, Any]]:
    """Each group in two, "chosen" and, named with the suffix, the rest; quantiles are never chosen."""
    made = []
    for group in groups:
        for chosen in (True, False):
            kept = [p for p in group.parameters if (group.name != QUANTILES and choose(group, p)) is chosen]
            name = group.name if chosen or group.name == QUANTILES else f"{group.name}, {suffix}"
            if kept:
                made.append({"params": kept, "lr": group.learning_rate, "name": name, "chosen": chosen})
    return made


def _not_negative(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise UserError(f"task.optimizer.{name} is {value:g}; give 0 or more.")
