"""Scale hyperprior (Ballé et al. 2018), one lambda; and with modulation, every lambda (thesis section 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.variable_rate import VariableRateCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv, deconv, store_kernels
from nic_lightning.layers.gdn import GDN
from nic_lightning.layers.modulation import ModulationNet
from nic_lightning.layers.precision import in_float64


class ScaleHyperprior(VariableRateCodec):
    """Latents coded as zero-mean Gaussians whose scales travel as side information.

        x ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─ GDN ─ conv 5/2 ─┬─ y ─ Q ─ y_hat ── g_s (mirrored) ─ x_hat
                                                                         │      └─ Gaussian(scales) ─ bits
        z ─ conv 5/2 ─ ReLU ─ conv 5/2 ─ ReLU ─ conv 3/1 ─ |·| ──────────┘
        └─ Q ─ z_hat ─ deconv 5/2 ─ ReLU ─ deconv 5/2 ─ ReLU ─ conv 3/1 ─ scales

    All layers have `width` channels as in tensorflow-compression's bmshj2018 with N = M (10,132,995 parameters at 192).
    Several `lambdas` need `modulated: true`, which scales every convolution's features as functions of lambda with 14
    networks (10,271,483 parameters; the thesis prints only the sum, 14 is the one count that gives it). `z` has one
    factorised entropy model a lambda; the Gaussian tables serve all.

    Sender and receiver must derive the same scales, so `h_s` runs in float64 on the CPU when bits are made or read:
    its rounding differs between machines in the 16th digit, the tables in the first.
    """

    downsampling = 64

    def __init__(
        self,
        width: int = 192,
        lambdas: Sequence[float] = (1024.0,),
        modulated: bool = False,
        hidden: int = 50,
        lambda_input: str = "linear",
        kernel_param: str = "direct",
    ):
        super().__init__(lambdas)
        if not modulated and len(self.lambdas) > 1:
            raise UserError("codec.lambdas has several values; the hyperprior needs codec.modulated=true for that.")
        n = width
        self.g_a = nn.ModuleList([conv(3, n, 5, 2), *(conv(n, n, 5, 2) for _ in range(3))])
        self.g_a_gdns = nn.ModuleList(GDN(n) for _ in range(3))
        self.g_s = nn.ModuleList([*(deconv(n, n, 5, 2) for _ in range(3)), deconv(n, 3, 5, 2)])
        self.g_s_gdns = nn.ModuleList(GDN(n, inverse=True) for _ in range(3))
        self.h_a = nn.ModuleList([conv(n, n, 3), conv(n, n, 5, 2), conv(n, n, 5, 2, bias=False)])
        net = partial(ModulationNet, n, self.lambdas[-1], hidden, self.lowest_if_log(lambda_input))
        self.h_s = _HyperSynthesis(n, net if modulated else None)
        counts = {"g_a": 4, "g_s": 4, "h_a": 3} if modulated else {}
        self.modulation = nn.ModuleDict({name: nn.ModuleList(net() for _ in range(k)) for name, k in counts.items()})
        self.entropy_z = nn.ModuleList(EntropyBottleneck(n) for _ in self.lambdas)
        self.entropy_y = GaussianConditional()  # pyright: ignore[reportAttributeAccessIssue]
        store_kernels(self, kernel_param)

    def _factor(self, name: str, layer: int, point: OperatingPoint) -> Tensor | float:
        return self.modulation[name][layer](point.lmbda) if name in self.modulation else 1.0  # pyright: ignore[reportIndexIssue]

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents (N, width, H/16, W/16) of padded images."""
        for i, layer in enumerate(self.g_a):
            x = layer(x) * self._factor("g_a", i, point)
            x = self.g_a_gdns[i](x) if i < 3 else x
        return x

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents."""
        for i, layer in enumerate(self.g_s):
            y_hat = layer(y_hat * self._factor("g_s", i, point))
            y_hat = self.g_s_gdns[i](y_hat) if i < 3 else y_hat
        return y_hat

    def hyper_analysis(self, y: Tensor, point: OperatingPoint) -> Tensor:
        """Side information z (N, width, H/64, W/64) of latents."""
        z = y.abs()
        for i, layer in enumerate(self.h_a):
            z = layer(z) * self._factor("h_a", i, point)
            z = F.relu(z) if i < 2 else z
        return z

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents, likelihoods of y and z."""
        z = self.hyper_analysis(y, point)
        z_hat, z_likelihood = self.bottleneck(self.entropy_z, point)(z, training=self.training)
        y_hat, y_likelihood = self.entropy_y(y, self.h_s(z_hat, point.lmbda))
        return y_hat, {"y": y_likelihood, "z": z_likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y."""
        z_string, z_hat = self.bottleneck(self.entropy_z, point).encode(self.hyper_analysis(y, point))
        y_string, y_hat = self.entropy_y.encode(y, self._exact_scales(z_hat, point))  # pyright: ignore[reportCallIssue]
        return [z_string, y_string], {"y": y_hat, "z": z_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        z_size = (size[0] // 4, size[1] // 4)
        z_hat = self.bottleneck(self.entropy_z, point).decode(strings[0], z_size)
        y_hat = self.entropy_y.decode(strings[1], self._exact_scales(z_hat, point))  # pyright: ignore[reportCallIssue]
        return {"y": y_hat, "z": z_hat}

    def _exact_scales(self, z_hat: Tensor, point: OperatingPoint) -> Tensor:
        return in_float64(self.h_s, z_hat, point.lmbda)


class _HyperSynthesis(nn.Module):
    """h_s: scales of the latents from the side information, (N, n, h, w) -> (N, n, 4h, 4w)."""

    def __init__(self, n: int, modulation: Callable[[], ModulationNet] | None):
        super().__init__()
        self.layers = nn.ModuleList([deconv(n, n, 5, 2), deconv(n, n, 5, 2), conv(n, n, 3)])
        self.modulation = nn.ModuleList(modulation() for _ in range(3) if modulation)

    def forward(self, z_hat: Tensor, lmbda: float) -> Tensor:
        for i, layer in enumerate(self.layers):
            z_hat = z_hat * self.modulation[i](lmbda) if self.modulation else z_hat
            z_hat = layer(z_hat)
            z_hat = F.relu(z_hat) if i < 2 else z_hat
        return z_hat
