"""Transforms that several methods share, each as a function that makes one."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from nic_lightning.errors import UserError, choices
from nic_lightning.layers.convolution import conv, deconv
from nic_lightning.layers.gdn import GDN

_ACTIVATIONS: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "gdn": (GDN, lambda width: GDN(width, inverse=True)),
    "relu": (lambda _: nn.ReLU(), lambda _: nn.ReLU()),
}
"""What stands between the convolutions of g_a and of g_s."""


def balle2018(width: int, latents: int, activation: str = "gdn") -> tuple[nn.Sequential, nn.Sequential]:
    """g_a and g_s of Ballé et al. 2018, with the layers and names of CompressAI's models.

        x ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ y       `width` channels, `latents` of y
        x_hat ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ─ y_hat

    g_a: (N, 3, H, W) to (N, latents, H/16, W/16); g_s: back, not clipped. Raises UserError for an activation other than
    "gdn" and "relu".
    """
    if activation not in _ACTIVATIONS:
        raise UserError(f"There is no activation {activation!r}; {choices(activation, _ACTIVATIONS)}.")
    here, back = _ACTIVATIONS[activation]
    g_a = nn.Sequential(
        conv(3, width, 5, 2), here(width), conv(width, width, 5, 2), here(width),
        conv(width, width, 5, 2), here(width), conv(width, latents, 5, 2),
    )  # fmt: skip
    g_s = nn.Sequential(
        deconv(latents, width, 5, 2), back(width), deconv(width, width, 5, 2), back(width),
        deconv(width, width, 5, 2), back(width), deconv(width, 3, 5, 2),
    )  # fmt: skip
    return g_a, g_s
