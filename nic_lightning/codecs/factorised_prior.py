"""Factorised prior with a bottleneck after a last convolution (Ballé et al. 2018), as CompressAI has it."""

from __future__ import annotations

from nic_lightning.codecs.base import single_point
from nic_lightning.codecs.factorised_base import FactorisedCodec
from nic_lightning.codecs.transforms import balle2018
from nic_lightning.entropy.factorised import EntropyBottleneck


class FactorisedPrior(FactorisedCodec):
    """Four strided convolutions, and one density for each latent channel: bmshj2018-factorized.

        x ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ y ─ Q ─ y_hat ─┐     `width` channels, and
                                                                          └─ EB ─ bits   │     `latents` of y
        x_hat ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ──┘

    Ballé et al. 2018, the model without hyperprior, with layers and densities of CompressAI's `FactorizedPrior`; files
    of its zoo and of its training program load as they are (`compressai_checkpoints.py`): 2,998,147 parameters at
    128 and 192.

    Args:
        width: channels of the layers; 128 for low rates, 192 for high ones in the zoo.
        latents: channels of y; 192 and 320.
        lmbda: weight of the distortion in training; None where it is not known.
        activation: "gdn" or "relu".
        label: of the operating point; lambda where none is given.
    """

    def __init__(
        self,
        width: int = 128,
        latents: int = 192,
        lmbda: float | None = 1024.0,
        activation: str = "gdn",
        label: str | None = None,
    ):
        super().__init__()
        self.g_a, self.g_s = balle2018(width, latents, activation)
        self.entropy_y = EntropyBottleneck(latents, filters=(3, 3, 3, 3))
        self._points = (single_point(lmbda, label, width),)
