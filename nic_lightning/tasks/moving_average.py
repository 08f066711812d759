"""Moving average of a codec's weights, which decodes better than the last ones while the learning rate is high."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.errors import UserError


class MovingAverage:
    """Exponential moving average of all trained parameters, taken after each step of the optimiser.

    At step t the average moves by 1 - d towards the weights, d = min(decay, (1 + t) / (10 + t)), so that it forgets the
    initial weights soon. Integer tables and other buffers are never averaged: they are made anew from the average.

    Args:
        codec: what is trained.
        decay: below 1; .999 looks back some 1,000 steps.
    """

    def __init__(self, codec: LearnedCodec, decay: float):
        if not 0 < decay < 1:
            raise UserError(f"task.average is {decay:g}; give a number above 0 and below 1, such as .999, or null.")
        self.codec, self.decay, self.steps = codec, decay, 0
        self.values: dict[str, Tensor] = {}
        """Averages by parameter name; empty before the first step."""
        self._kept: dict[str, Tensor] | None = None

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take the weights after so many steps into account; nothing is done for a step that was counted already."""
        if step <= self.steps:
            return
        self.steps, decay = step, min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters():
            value = self.values.get(name)
            if value is None:
                self.values[name] = parameter.detach().clone()
            else:
                self.values[name] = value.to(parameter).lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def put_in(self) -> None:
        """Let the codec have the averages; `take_out` gives it its own weights back."""
        self._kept = {name: parameter.detach().clone() for name, parameter in self._parameters() if name in self.values}
        self._set(self.values)

    @torch.no_grad()
    def take_out(self) -> None:
        """Undo `put_in`."""
        self._set(self._kept or {})
        self._kept = None

    @torch.no_grad()
    def averaged(self) -> LearnedCodec:
        """A copy of the codec with the averages in it."""
        twin = copy.deepcopy(self.codec)
        for name, value in self.values.items():
            twin.get_parameter(name).copy_(value)
        return twin

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"steps": self.steps, "values": dict(self.values)}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.steps, self.values = int(state["steps"]), dict(state["values"])

    def _parameters(self):
        return ((n, p) for n, p in self.codec.named_parameters() if p.requires_grad)

    def _set(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.codec.get_parameter(name).copy_(value)


class OptimizersAverage(MovingAverage):
    """The average that the optimiser itself keeps, as Schedule-Free does; it follows from the optimiser's state.

    Args:
        codec: what is trained.
        optimizer: has `averages()`, a value for each parameter that it averages.
    """

    def __init__(self, codec: LearnedCodec, optimizer: Any):
        self.codec, self.optimizer = codec, optimizer
        self.values: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] | None = None

    def follow(self, step: int) -> None:
        """Nothing: the optimiser has done it."""

    @torch.no_grad()
    def put_in(self) -> None:
        """Let the codec have the averages; the weights that `take_out` gives back are those of before, to the bit."""
        self._find()
        super().put_in()

    @torch.no_grad()
    def averaged(self) -> LearnedCodec:
        """A copy of the codec with the averages in it."""
        self._find()
        return super().averaged()

    def state(self) -> dict[str, Any]:
        """Nothing: the optimiser's state has it."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing, as `state`."""

    def _find(self) -> None:
        found = self.optimizer.averages()
        self.values = {name: found[p] for name, p in self.codec.named_parameters() if p in found}
