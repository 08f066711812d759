"""A bound on what building a codec may allocate, for configs that come from foreign files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nic_lightning.errors import UserError


def _by_size(*args: Any, **named: Any) -> int:
    """Of a factory that takes a size, as numbers or as a sequence."""
    sizes = [a for a in (*args, *named.values()) if isinstance(a, Sequence) and not isinstance(a, str)]
    return math.prod(sizes[0] if sizes else [a for a in args if isinstance(a, int)])


def _eye(n: int, m: int | None = None, **_: Any) -> int:
    return n * (n if m is None else m)


def _arange(*args: float, start: float = 0, end: float = 0, step: float = 1, **_: Any) -> int:
    given = (start, *args) if len(args) == 1 else args or (start, end)
    return math.ceil((given[1] - given[0]) / (given[2] if len(given) > 2 else step)) + 1


def _steps(start: float, end: float, steps: int, *_: Any, **__: Any) -> int:
    return steps


_FACTORIES: dict[Callable[..., Any], Callable[..., int]] = {
    **dict.fromkeys((torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn), _by_size),
    **dict.fromkeys((torch.empty_strided, torch.empty_permuted, torch.randint, torch.randperm), _by_size),
    **dict.fromkeys((Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full), _by_size),
    **dict.fromkeys((torch.linspace, torch.logspace), _steps),
    **dict.fromkeys((torch.arange, torch.range), _arange),
    torch.eye: _eye,
}  # fmt: skip
"""Functions that make tensors from numbers, and how many values they make of their arguments."""


class Room(TorchFunctionMode):
    """Within the `with` block, at most `values` numbers are made by torch's factories.

    Raises UserError before one makes more, and after any other function returned a larger tensor. That is what the
    meta device would tell, too; but its kernels import a compiler and SymPy, half a second, and then the codec has to
    be built once more.
    """

    def __init__(self, values: int) -> None:
        super().__init__()
        self.most = self.left = values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Count, then call."""
        named = kwargs or {}
        if (count := _FACTORIES.get(func)) is not None:
            self.left -= count(*args, **named)
            self._require(self.left >= 0)
        result = func(*args, **named)
        if isinstance(result, Tensor):
            self._require(result.numel() <= self.most)
        return result

    @staticmethod
    def _require(fits: bool) -> None:
        if not fits:
            raise UserError("it asks for more memory than its weights take.")
