"""Bottleneck scaling: one frozen autoencoder, latents scaled before rounding (Theis et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.cae import AnalysisTransform, SynthesisTransform
from nic_lightning.codecs.variable_rate import VariableRateCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import store_kernels


class BottleneckScaling(VariableRateCodec):
    """Coarser or finer rounding of a fixed autoencoder's latents, channel by channel.

        x ─ g_a ─ ×s(λ) ─ y ─ Q ─ y_hat ─ ÷s(λ) ─ g_s ─ x_hat         g_a, g_s: compressive autoencoder, frozen
                          └─ EB_λ ─ bits

    Thesis section 2.3.2 and its baseline of chapters 2 and 3. The autoencoder is pre-trained at the highest lambda
    (`init_from=RUN`) and frozen (`task.freeze=[g_a, g_s]`); per lambda, `width` scales and an entropy model are learned
    (4,004,163 parameters at width 192 and 7 lambdas). Scales start at sqrt(lambda / lambda_max), the high-rate optimum:
    there the step size squared is proportional to 1 / lambda. In between two lambdas, log s is interpolated.
    """

    def __init__(
        self,
        width: int = 192,
        lambdas: Sequence[float] = (64, 128, 256, 512, 1024, 2048, 4096),
        kernel_param: str = "direct",
    ):
        super().__init__(lambdas)
        self.g_a, self.g_s = AnalysisTransform(width), SynthesisTransform(width)
        start = 0.5 * torch.log(torch.tensor(self.lambdas) / self.lambdas[-1])
        self.log_scale = nn.Parameter(start[:, None].repeat(1, width))
        self.entropy_y = nn.ModuleList(EntropyBottleneck(width) for _ in self.lambdas)
        store_kernels(self, kernel_param)

    def adopt(self, state: dict[str, Tensor]) -> None:
        """Take the weights of a compressive autoencoder trained at the highest lambda (its `state_dict`).

        Its entropy model becomes the start of every lambda's. Raises UserError when the widths differ.
        """
        own = self.state_dict()
        adopted = {k: v for k, v in state.items() if k.startswith(("g_a.", "g_s."))}
        for key, value in state.items():
            if key.startswith("entropy_y.") and not key.rsplit(".", 1)[-1].startswith("_"):
                adopted |= {f"entropy_y.{i}.{key.removeprefix('entropy_y.')}": value for i in range(len(self.lambdas))}
        if any(own.get(k) is None or own[k].shape != v.shape for k, v in adopted.items()) or not adopted:
            raise UserError(
                "init_from does not hold a compressive autoencoder (codec=cae) of this codec's width and kernel_param."
            )
        self.load_state_dict(own | adopted)

    def scale(self, point: OperatingPoint) -> Tensor:
        """Factors s(lambda), (1, width, 1, 1)."""
        if point.index >= 0:
            log_scale = self.log_scale[point.index]
        else:
            i, t = self.neighbours(point)
            log_scale = (1 - t) * self.log_scale[i] + t * self.log_scale[i + 1]
        return torch.exp(log_scale)[None, :, None, None]

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Scaled latents of padded images."""
        return self.g_a(x) * self.scale(point)

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of scaled latents."""
        return self.g_s(y_hat / self.scale(point))
