"""Compressive autoencoder: the base of the thesis' chapters 2 and 3 (after Ballé et al. 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.factorised_base import FactorisedCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.layers.convolution import conv, deconv, store_kernels
from nic_lightning.layers.gdn import GDN


class AnalysisTransform(nn.Module):
    """g_a: three strided convolutions, GDN after each, the last one included. (N, 3, H, W) -> (N, w, H/16, W/16)."""

    def __init__(self, width: int):
        super().__init__()
        self.convs = nn.ModuleList(
            [conv(3, width, 9, 4), conv(width, width, 5, 2), conv(width, width, 5, 2, bias=False)]
        )
        self.gdns = nn.ModuleList(GDN(width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Latents of images."""
        for conv_, gdn in zip(self.convs, self.gdns, strict=True):
            x = gdn(conv_(x))
        return x


class SynthesisTransform(nn.Module):
    """g_s: inverse GDN before each of three strided transposed convolutions. (N, w, h, w') -> (N, 3, 16h, 16w')."""

    def __init__(self, width: int):
        super().__init__()
        self.gdns = nn.ModuleList(GDN(width, inverse=True) for _ in range(3))
        self.deconvs = nn.ModuleList([deconv(width, width, 5, 2), deconv(width, width, 5, 2), deconv(width, 3, 9, 4)])

    def forward(self, y: Tensor) -> Tensor:
        """Images of latents."""
        for gdn, deconv_ in zip(self.gdns, self.deconvs, strict=True):
            y = deconv_(gdn(y))
        return y


class CompressiveAutoencoder(FactorisedCodec):
    """One rate-distortion trade-off, one model: trained once a lambda, it is the thesis' "independent models".

        x ─ conv 9/4 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ y ─ Q ─ y_hat ─┐        all layers `width` channels
                                                               └─ EB ─ bits   │
        x_hat ─ deconv 9/4 ─ IGDN ─ deconv 5/2 ─ IGDN ─ deconv 5/2 ─ IGDN ────┘

    Thesis sections 2.2 and 2.4.1, layer facts from the released code; 106 w^2 + 496 w + 3 parameters (4,002,819 at 192)
    beside the entropy model. `kernel_param: rdft` trains the kernels' Fourier coefficients, as the released code does.
    """

    def __init__(self, width: int = 192, lmbda: float = 1024.0, kernel_param: str = "direct"):
        super().__init__()
        self.g_a, self.g_s = AnalysisTransform(width), SynthesisTransform(width)
        self.entropy_y = EntropyBottleneck(width)
        self._points = (OperatingPoint(0, f"{lmbda:g}", lmbda=float(lmbda), width=width),)
        store_kernels(self, kernel_param)
