"""Modulated autoencoder (MAE): one autoencoder, every lambda (thesis chapter 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.cae import AnalysisTransform, SynthesisTransform
from nic_lightning.codecs.variable_rate import VariableRateCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.layers.convolution import store_kernels
from nic_lightning.layers.modulation import ModulationNet


class ModulatedAutoencoder(VariableRateCodec):
    """Feature maps scaled channel by channel as functions of lambda, at every layer of both sides.

        x ─ conv 9/4 ─ ×m1(λ) ─ GDN ─ conv 5/2 ─ ×m2(λ) ─ GDN ─ conv 5/2 ─ ×m3(λ) ─ GDN ─ y ─ Q ─ y_hat ─┐
                                                                                     └─ EB_λ ─ bits      │
        x_hat ─ deconv 9/4 ─ d3(λ)× ─ IGDN ─ deconv 5/2 ─ d2(λ)× ─ IGDN ─ deconv 5/2 ─ d1(λ)× ─ IGDN ────┘

    Thesis section 2.3.3, eq. 2.6 to 2.8. The text's modulating network of 150 units is, in the released code, six nets
    1 -> 50 -> width, one a layer, and only that gives the printed 4.06 M parameters (4,062,171 at width 192). Also from
    the code: one entropy model a lambda. Trained on the sum of the losses of all lambdas over the same crops.
    `lambda_input: log` gives the nets the logarithm of lambda, which the released code does not.
    """

    def __init__(
        self,
        width: int = 192,
        lambdas: Sequence[float] = (64, 128, 256, 512, 1024, 2048, 4096),
        hidden: int = 50,
        lambda_input: str = "linear",
        kernel_param: str = "direct",
    ):
        super().__init__(lambdas)
        net = partial(ModulationNet, width, self.lambdas[-1], hidden, self.lowest_if_log(lambda_input))
        self.g_a, self.g_s = AnalysisTransform(width), SynthesisTransform(width)
        self.modulation = nn.ModuleList(net() for _ in range(3))
        self.demodulation = nn.ModuleList(net() for _ in range(3))
        self.entropy_y = nn.ModuleList(EntropyBottleneck(width) for _ in self.lambdas)
        store_kernels(self, kernel_param)

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents of padded images at the point's lambda."""
        for conv, modulation, gdn in zip(self.g_a.convs, self.modulation, self.g_a.gdns, strict=True):
            x = gdn(conv(x) * modulation(point.lmbda))
        return x

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents made at the point's lambda."""
        for gdn, demodulation, deconv in zip(self.g_s.gdns, self.demodulation, self.g_s.deconvs, strict=True):
            y_hat = deconv(gdn(y_hat) * demodulation(point.lmbda))
        return y_hat
