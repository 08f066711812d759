"""Hyperpriors of CompressAI's zoo, with scales, or means and scales (Minnen et al. 2018), and with a checkerboard."""

from __future__ import annotations

from torch import Tensor, nn

from nic_lightning.codecs.base import single_point
from nic_lightning.codecs.hyperprior_base import HyperpriorCodec
from nic_lightning.codecs.transforms import balle2018
from nic_lightning.errors import UserError
from nic_lightning.layers.checkerboard import CheckerboardContext
from nic_lightning.layers.convolution import conv, deconv


class MeanScaleHyperprior(HyperpriorCodec):
    """Means and scales of the latents travel as side information: mbt2018-mean.

        x ─ g_a ─ y ─┬─ Q ─ y_hat ─ g_s ─ x_hat            transforms of Ballé et al. 2018 (codecs/transforms.py)
                     │      └─ Gaussian(means, scales) ─ bits
        conv 3/1 ────┘ LReLU ─ conv 5/2 ─ LReLU ─ conv 5/2 ─ z ─ Q ─ z_hat
        z_hat ─ deconv 5/2 ─ LReLU ─ deconv 5/2 ─ LReLU ─ conv 3/1 ─ scales, means

    Minnen, Ballé and Toderici 2018, without and with context. Layers, names and densities are those of CompressAI's
    `MeanScaleHyperprior` (7,028,003 parameters at 128 and 192), and without means those of its `ScaleHyperprior`
    (5,075,843), whose weight files load as they are (`compressai_checkpoints.py`).

    `context: checkerboard` (He et al. 2021) decodes every second position by side information alone, and the others
    also by those around them.

    Args:
        width: channels of the transforms and of z; 128 for low rates, 192 for high ones in the zoo.
        latents: channels of y; 192 and 320.
        lmbda: weight of the distortion in training; None where it is not known.
        means: with False the Gaussians have mean 0, and h_a sees absolute values: bmshj2018-hyperprior.
        context: "none" or "checkerboard".
        label: of the operating point; lambda where none is given.
    """

    def __init__(
        self,
        width: int = 128,
        latents: int = 192,
        lmbda: float | None = 1024.0,
        means: bool = True,
        context: str = "none",
        label: str | None = None,
    ):
        if context not in ("none", "checkerboard") or (context == "checkerboard" and not means):
            raise UserError(f"codec.context is {context!r}; give none, or checkerboard with codec.means=true.")
        n, m = width, latents
        act = nn.LeakyReLU if means else nn.ReLU
        h_a = nn.Sequential(conv(m, n, 3), act(), conv(n, n, 5, 2), act(), conv(n, n, 5, 2))
        h_s = nn.Sequential(deconv(n, m, 5, 2), act(), deconv(m, 3 * m // 2, 5, 2), act(), conv(3 * m // 2, 2 * m, 3))
        if not means:
            h_s = nn.Sequential(deconv(n, n, 5, 2), act(), deconv(n, n, 5, 2), act(), conv(n, m, 3), act())
        model = CheckerboardContext(m, 2 * m) if context == "checkerboard" else None
        for module in (h_s, model) if model else (h_s,):
            last = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][-1]
            nn.init.ones_(last.bias[:m])  # scales of an untrained codec are 1, where gradients reach them  # pyright: ignore
        super().__init__(*balle2018(n, m), h_a, h_s, n, single_point(lmbda, label, width), model)
        self.means = bool(means)

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """Side information z (N, width, H/64, W/64) of latents; scales alone do not depend on signs."""
        return self.h_a(y if self.means else y.abs())
