"""Factorised prior with a bottleneck after a last convolution (Ballé et al. 2018), as CompressAI has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.errors import UserError
from nic_lightning.layers.convolution import conv, deconv
from nic_lightning.layers.gdn import GDN

ACTIVATIONS: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "gdn": (GDN, lambda width: GDN(width, inverse=True)),
    "relu": (lambda _: nn.ReLU(), lambda _: nn.ReLU()),
}
"""What stands between the convolutions of g_a and of g_s."""


class FactorisedPrior(LearnedCodec):
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
        if activation not in ACTIVATIONS:
            raise UserError(f"codec.activation is {activation!r}; give gdn or relu.")
        if label is None and lmbda is None:
            raise UserError("codec.lmbda is null; give a number, or codec.label for weights of an unknown lambda.")
        here, back = ACTIVATIONS[activation]
        self.g_a = nn.Sequential(
            conv(3, width, 5, 2), here(width), conv(width, width, 5, 2), here(width),
            conv(width, width, 5, 2), here(width), conv(width, latents, 5, 2),
        )  # fmt: skip
        self.g_s = nn.Sequential(
            deconv(latents, width, 5, 2), back(width), deconv(width, width, 5, 2), back(width),
            deconv(width, width, 5, 2), back(width), deconv(width, 3, 5, 2),
        )  # fmt: skip
        self.entropy_y = EntropyBottleneck(latents, filters=(3, 3, 3, 3))
        lmbda = None if lmbda is None else float(lmbda)
        self._points = (OperatingPoint(0, label or f"{lmbda:g}", lmbda=lmbda, width=width),)

    @property
    def operating_points(self) -> Sequence[OperatingPoint]:
        """The one lambda."""
        return self._points

    def analysis(self, x: Tensor, point: OperatingPoint) -> Tensor:
        """Latents of padded images."""
        return self.g_a(x)

    def synthesis(self, y_hat: Tensor, point: OperatingPoint) -> Tensor:
        """Images of latents."""
        return self.g_s(y_hat)

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or rounded latents and their likelihoods."""
        y_hat, likelihood = self.entropy_y(y)
        return y_hat, {"y": likelihood}

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """One string."""
        string, y_hat = self.entropy_y.encode(y)
        return [string], {"y": y_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the one string."""
        self.expect_strings(strings, 1)
        return {"y": self.entropy_y.decode(strings[0], size)}
