"""Base of codecs with a hyperprior: what a new transform, or a new context model, need not write again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.factorised_base import PlainTransforms
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.entropy.model import require_finite, to_int32
from nic_lightning.entropy.tables import StringReader
from nic_lightning.layers.checkerboard import first_colour
from nic_lightning.layers.precision import in_float64

GRID, LARGEST = 2.0**8, 2.0**30
"""Means that later latents follow from are multiples of 1/256 up to this: last digits, in which machines differ, do not
go on from one pass to the next."""


class HyperpriorCodec(PlainTransforms):
    """Latents coded as Gaussians, whose scales and means follow from side information, and from a context if any.

        x ─ g_a ─ y ─┬─ Q ─ y_hat ─ g_s ─ x_hat
                     │      └─ Gaussian(means, scales) ─ bits
                     └─ h_a ─ z ─ Q ─ z_hat ─ h_s ─ features ─┬─ scales, means
                                              y_hat known ────┘ context

    A method hands its parts to the constructor. h_s gives features of all latents' positions, (N, F, 4h, 4w) of z
    (N, C, h, w). Without a context model F is M or 2 M: scales, or scales and then means, of M latents. A context model
    is a module `(features, known) -> (scales, means)` whose positions of the first colour of a checkerboard depend on
    no latent, and the others on those of the first (`layers/checkerboard.py`): latents are coded in two passes.

    Sender and receiver have to find the same tables, so bits are made and read with h_s and context in float64 on the
    CPU: its rounding differs between machines in the 16th digit, the tables in the first.

    Args:
        g_a, g_s: analysis and synthesis transform, stride 16 in all.
        h_a, h_s: of the hyperprior, stride 4 in all.
        side: channels of z.
        point: the one operating point.
        context: see above; None: none.
    """

    downsampling = 64

    def __init__(
        self,
        g_a: nn.Module,
        g_s: nn.Module,
        h_a: nn.Module,
        h_s: nn.Module,
        side: int,
        point: OperatingPoint,
        context: nn.Module | None = None,
    ):
        super().__init__()
        self.g_a, self.g_s, self.h_a, self.h_s, self.context = g_a, g_s, h_a, h_s, context
        self.entropy_z = EntropyBottleneck(side, filters=(3, 3, 3, 3))
        self.entropy_y = GaussianConditional()
        self._points = (point,)

    def hyper_analysis(self, y: Tensor) -> Tensor:
        """Side information z (N, side, H/64, W/64) of latents."""
        return self.h_a(y)

    def gaussians(self, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scales and means of latents like `known`; None for means that are all 0."""
        if self.context is not None:
            return self.context(features, known)
        latents = known.shape[1]
        return features[:, :latents], features[:, latents:] if features.shape[1] > latents else None

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or quantised latents, likelihoods of y and z; quantised ones are those of `encode_latents`."""
        z_hat, z_likelihood = self.entropy_z(self.hyper_analysis(y))
        if not self.training:
            images = [self._estimate(*one) for one in zip(y.split(1), z_hat.split(1), strict=True)]
            y_hat, likelihood = (torch.cat(parts) for parts in zip(*images, strict=True))
            return y_hat.contiguous(memory_format=self.memory_format), {"y": likelihood, "z": z_likelihood}
        y_hat = self.entropy_y.noisy(y.float())
        known = y_hat * first_colour(*y.shape[-2:], device=y.device)
        scales, means = self.gaussians(self.h_s(z_hat), known)
        means = torch.zeros_like(y_hat) if means is None else means
        return y_hat, {"y": self.entropy_y.likelihood(y_hat, scales, means), "z": z_likelihood}

    @torch.no_grad()
    def _estimate(self, y: Tensor, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents of one image, and the likelihoods that `encode_latents` codes them with."""
        symbols, scales = torch.zeros_like(y, dtype=torch.float32), torch.ones_like(y, dtype=torch.float32)

        def quantise(means: Tensor, found: Tensor, places: Tensor) -> Tensor:
            own = self.entropy_y.quantise(y, means)
            symbols[places], scales[places] = own[places], found.to(scales)[places]
            return own

        y_hat = self._in_passes(z_hat, y, quantise)
        return y_hat, self.entropy_y.likelihood(symbols, scales, torch.zeros_like(symbols))

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y; with a context, latents of the first colour before the others."""
        require_finite(y)
        z_string, z_hat = self.entropy_z.encode(self.hyper_analysis(y))
        symbols: list[np.ndarray] = []
        rows: list[np.ndarray] = []

        def quantise(means: Tensor, scales: Tensor, places: Tensor) -> Tensor:
            own = self.entropy_y.quantise(y, means)
            symbols.append(to_int32(own[places]))
            rows.append(self.entropy_y.rows(scales[places.to(scales.device)]))
            return own

        y_hat = self._in_passes(z_hat, y, quantise)
        string = self.entropy_y.tables.encode(np.concatenate(symbols), np.concatenate(rows))
        return [z_string, string], {"y": y_hat, "z": z_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        z_hat = self.entropy_z.decode(strings[0], (size[0] // 4, size[1] // 4))
        reader = StringReader(self.entropy_y.tables, strings[1])

        def read(means: Tensor, scales: Tensor, places: Tensor) -> Tensor:
            symbols = torch.zeros_like(means)
            found = reader.read(self.entropy_y.rows(scales[places.to(scales.device)]))
            symbols[places] = torch.from_numpy(found).to(symbols)
            return symbols

        like = self.entropy_y.scale_table.new_empty((1, self.latents, *size))
        y_hat = self._in_passes(z_hat, like, read)
        reader.close()
        return {"y": y_hat, "z": z_hat}

    @property
    def latents(self) -> int:
        """Channels of y."""
        last = [module for module in self.g_a.modules() if isinstance(module, nn.Conv2d)][-1]
        return last.out_channels

    @torch.no_grad()
    def _in_passes(self, z_hat: Tensor, like: Tensor, symbols_at: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Quantised latents of one image, float32, in the shape and on the device of `like`.

        `symbols_at(means, scales, places)` gives symbols of all positions, of which those at `places` (bool) count.
        """
        features = in_float64(self.h_s, z_hat)
        y_hat = torch.zeros_like(like, dtype=torch.float32)
        first = first_colour(*like.shape[-2:], device=like.device).expand(like.shape)
        for places in (first, ~first) if self.context is not None else (torch.ones_like(first),):
            scales, means = self._exact_gaussians(features, y_hat)
            y_hat = torch.where(places, symbols_at(means.to(y_hat), scales, places) + means.to(y_hat), y_hat)
        return y_hat

    def _exact_gaussians(self, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and means of one image by float64 on the CPU."""
        if self.context is None:
            scales, means = self.gaussians(features, known)
            return scales, torch.zeros_like(scales) if means is None else means
        scales, means = in_float64(self.context, features, known.double().cpu())
        # Latents that no image has, from a hostile file, can overflow.
        return scales, torch.round(means.nan_to_num(0).clamp(-LARGEST, LARGEST) * GRID) / GRID
