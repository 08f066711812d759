"""`task.distortion`: what reconstructions cost, by name, as a mixture of names, or a function of your own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from nic_lightning.errors import UserError, choices
from nic_lightning.losses.rate_distortion import Distortion, l1, ms_ssim_loss, mse
from nic_lightning.metrics.lpips import MIN_SIDE, LpipsAlex, load_lpips

MIXED = "mixture"
"""What a mixture is called in logs; a function of your own goes by its own name."""


class LpipsLoss:
    """LPIPS-Alex of reconstructions, with gradients; its weights are no part of the run's checkpoints.

    Args:
        file: weights; None: those that `nic data weights` names.

    Raises:
        UserError: there are none.
    """

    def __init__(self, file: str | None = None) -> None:
        network = load_lpips(file)
        if network is None:
            raise UserError(
                "task.distortion has lpips, and its weights are missing: nic data weights says where to put them."
            )
        self.network: LpipsAlex = network

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Mean over images (N, 3, H, W) in [0, 1], of 31 pixels a side or more."""
        if min(x.shape[-2:]) < MIN_SIDE:
            raise UserError(f"LPIPS needs crops of {MIN_SIDE} pixels a side or more; these have {x.shape[-1]}.")
        self.network = self.network.to(x.device)
        with torch.no_grad():
            originals = self.network.features_of(x)
        with torch.autocast(x.device.type, enabled=False):
            return self.network.distances(originals, self.network.features_of(x_hat.float())).mean()


PARTS: dict[str, Callable[[], Distortion]] = {
    "mse": lambda: mse,
    "l1": lambda: l1,
    "ms-ssim": lambda: ms_ssim_loss,
    "lpips": LpipsLoss,
}
"""By name; each is made when it is asked for."""


class Mixture:
    """A weighted sum of distortions."""

    def __init__(self, parts: Mapping[str, tuple[float, Distortion]]) -> None:
        self.parts = dict(parts)

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """Of images (N, 3, H, W) in [0, 1]."""
        terms = [weight * function(x_hat, x) for weight, function in self.parts.values()]
        return torch.stack(terms).sum()


def chosen_distortion(wish: Any) -> tuple[str, Distortion]:
    """The name for logs, and the function (x_hat, x) -> scalar.

    Args:
        wish: a name of PARTS; weights by name, {"mse": 1, "lpips": .05}; or a function of your own.

    Raises:
        UserError: there is no such name, or a weight is no number above 0.
    """
    if isinstance(wish, str):
        return wish, _part(wish)()
    if isinstance(wish, Mapping):
        bad = [
            k for k, w in wish.items() if isinstance(w, bool) or not isinstance(w, int | float) or not 0 < w < math.inf
        ]
        if bad or not wish:
            raise UserError(f"task.distortion is {dict(wish)}; give weights above 0, such as {{mse: 1, lpips: 0.05}}.")
        makers = {name: _part(str(name)) for name in wish}
        return MIXED, Mixture({name: (float(wish[name]), make()) for name, make in makers.items()})
    if not callable(wish):
        raise UserError(f"task.distortion is {wish!r}; give {choices('', PARTS)}, weights of these, or a function.")
    if isinstance(wish, nn.Module):
        wish.requires_grad_(False)
    inner = wish.func if isinstance(wish, partial) else wish
    return str(getattr(inner, "__name__", type(inner).__name__)), cast(Distortion, wish)


def _part(name: str) -> Callable[[], Distortion]:
    if name not in PARTS:
        raise UserError(f"There is no distortion {name!r} for task.distortion; {choices(name, PARTS)}.")
    return PARTS[name]
