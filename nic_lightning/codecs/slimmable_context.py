"""Slimmable autoencoder with a slimmable hyperprior and a slimmable autoregressive context (thesis section 3.5.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.slimmable_hyperprior import SLOPE, SlimmableHyperprior
from nic_lightning.entropy.model import require_finite, to_int32
from nic_lightning.entropy.tables import StringReader
from nic_lightning.layers.context import ORDERS, ContextModel, ExactContext, passes
from nic_lightning.layers.convolution import store_kernels
from nic_lightning.layers.precision import without_autocast


class SlimmableContext(SlimmableHyperprior):
    """Latents coded as Gaussians whose means and scales follow from side information and from latents decoded before.

        y ─ Q ─ y_hat ─ masked conv 5/1 ─┐
                 z_hat ─ h_s ────────────┴─ 1/1 ─ LReLU ─ 1/1 ─ LReLU ─ 1/1 ─ means, scales

    Thesis section 3.5.6: one masked convolution of w channels (Minnen et al. 2018). The rest is `slimmable_hyperprior`
    with 2w features from h_s; h_a sees y with its sign, as in that paper. Left open and taken here: the 1/1 layers have
    2w channels (the paper's, not slimmable, taper), and are conditional on the width like all others.

    `order: checkerboard` (He et al. 2021) decodes every second latent without context, then all others: two passes.
    `order: serial` is raster order, decoded along wavefronts: 3 (h - 1) + w passes, the same model as pixel by pixel.
    Positions of one pass are worked out together. The sender makes the same passes, in float64 on the CPU, because a
    latent's mean needs the latents before it as the receiver sees them. 34,569,750 parameters at the default widths.

    Decoding both strings of a 512x768 image of Kodak at widths 48 and 384 (random weights, median processor time of one
    thread, 15 and 5 rounds): checkerboard 24 and 450 ms, serial 98 and 1,370 ms; at 384 g_s takes 4.2 s. What the
    checkerboard costs in rate: serial order took 14 and 11 % less at widths 12 and 18 and equal PSNR on Kodak, after
    4,000 steps, one seed (experiments/slimcae_entropy_kodak_small). At full size it is not known.
    """

    hyper_outputs = 2

    def __init__(
        self,
        widths: Sequence[int] = (96, 144, 192, 288, 384),
        hyper_widths: Sequence[int] = (48, 72, 96, 144, 192),
        lambdas: float | Sequence[float] = 4000.0,
        order: str = "checkerboard",
        gdn: str = "slim+",
        kernel_param: str = "direct",
    ):
        super().__init__(widths, hyper_widths, lambdas, gdn, kernel_param)
        self._arguments["order"] = order
        self.context = ContextModel(self.widths[-1], len(self.widths), order, SLOPE)
        store_kernels(self.context, kernel_param)

    def _hash(self, state: dict[str, Tensor]) -> bytes:
        # Either order fits the same weights, and files of one are misread in the other.
        return super()._hash({**state, "order": torch.tensor(ORDERS.index(self.context.order))})

    def hyper_input(self, y: Tensor) -> Tensor:
        """Latents with their sign: side information gives means, too."""
        return y

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or quantised latents, likelihoods of y and z; quantised ones are those of `encode_latents`.

        No gradient of the likelihood of quantised latents reaches anything.
        """
        z_hat, z_likelihood = self.entropy_z[point.index](self.hyper_analysis(y, point))
        if not self.training:
            images = [self._estimate(*one, point) for one in zip(y.split(1), z_hat.split(1), strict=True)]
            y_hat, likelihood = (torch.cat(parts) for parts in zip(*images, strict=True))
            return y_hat.contiguous(memory_format=self.memory_format), {"y": likelihood, "z": z_likelihood}
        y_hat = self.entropy_y.noisy(y.float())  # pyright: ignore[reportCallIssue]
        means, scales = self.context(y_hat, self.hyper_synthesis(z_hat, point), point.index)
        return y_hat, {"y": self.entropy_y.likelihood(y_hat, scales, means), "z": z_likelihood}  # pyright: ignore[reportCallIssue]

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y; that of y has the order of the passes, all channels of a position together."""
        require_finite(y)
        z_string, z_hat = self._bottleneck(point).encode(self.hyper_analysis(y, point))
        symbols: list[np.ndarray] = []
        rows: list[np.ndarray] = []

        def keep(positions: Tensor, quantised: Tensor, scales: Tensor) -> None:
            symbols.append(to_int32(quantised))
            rows.append(self.entropy_y.rows(scales))  # pyright: ignore[reportCallIssue]

        y_hat = self._quantise(y, z_hat, point, keep)
        y_string = self.entropy_y.tables.encode(np.concatenate(symbols), np.concatenate(rows))  # pyright: ignore
        return [z_string, y_string], {"y": y_hat, "z": z_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        z_hat = self._bottleneck(point).decode(strings[0], (size[0] // 4, size[1] // 4))
        reader = StringReader(self.entropy_y.tables, strings[1])  # pyright: ignore[reportArgumentType]

        def read(positions: Tensor, means: Tensor, scales: Tensor) -> Tensor:
            return torch.from_numpy(reader.read(self.entropy_y.rows(scales))).view_as(means)  # pyright: ignore[reportCallIssue]

        y_hat = self._in_order(z_hat, point, read)
        reader.close()
        return {"y": y_hat, "z": z_hat}

    def _estimate(self, y: Tensor, z_hat: Tensor, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """Quantised latents of one image, and the likelihoods that `encode_latents` codes them with."""
        found = torch.empty(2, y[0, 0].numel(), y.shape[1])

        def keep(positions: Tensor, symbols: Tensor, scales: Tensor) -> None:
            found[0, positions], found[1, positions] = symbols.float(), scales.float()

        y_hat = self._quantise(y, z_hat, point, keep)
        symbols, scales = found.transpose(1, 2).to(y_hat).view(2, *y.shape)
        return y_hat, self.entropy_y.likelihood(symbols, scales, torch.zeros_like(symbols))  # pyright: ignore[reportCallIssue]

    def _quantise(
        self, y: Tensor, z_hat: Tensor, point: OperatingPoint, keep: Callable[[Tensor, Tensor, Tensor], None]
    ) -> Tensor:
        """Quantised latents of one image; `keep` gets positions, symbols and scales of every pass."""
        flat = y.detach()[0].double().cpu().flatten(1).t()

        def quantise(positions: Tensor, means: Tensor, scales: Tensor) -> Tensor:
            symbols = self.entropy_y.quantise(flat[positions], means)  # pyright: ignore[reportCallIssue]
            keep(positions, symbols, scales)
            return symbols

        return self._in_order(z_hat, point, quantise)

    @torch.no_grad()
    def _in_order(
        self, z_hat: Tensor, point: OperatingPoint, symbols_at: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Latents (1, w, h, w') whose symbols are asked for pass by pass: `symbols_at(positions, means, scales)`."""
        exact = ExactContext(self.context, point.index, self.exact_hyper_synthesis(z_hat, point))
        with without_autocast("cpu"):  # on CPUs it makes bfloat16 of float64, too
            for positions in passes(self.context.order, exact.rows, exact.columns):
                means, scales = exact.at(positions)
                exact.place(positions, symbols_at(positions, means, scales) + means)
        return exact.latents().to(self.entropy_y.scale_table)  # pyright: ignore
