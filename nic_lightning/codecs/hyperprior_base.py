"""Base of codecs with a hyperprior: what a new transform, or a new context model, need not write again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.factorised_base import PlainTransforms
from nic_lightning.entropy.factorised import EntropyBottleneck, FactorisedCoding
from nic_lightning.entropy.gaussian import GaussianConditional
from nic_lightning.entropy.model import require_finite, to_int32
from nic_lightning.entropy.tables import StringReader
from nic_lightning.layers.checkerboard import first_colour
from nic_lightning.layers.precision import in_float64

GRID, LARGEST = 2.0**8, 2.0**30
"""Means that later latents follow from are multiples of 1/256 up to this: last digits, in which machines differ, do not
go on from one pass to the next."""
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Pass:
    """Latents of one image that are coded together, c channels at p positions: which, and their Gaussians."""

    channels: slice
    positions: Tensor | slice
    """Indices, row by row."""
    scales: Tensor
    """(c, p), what the tables are chosen by; float64 on the CPU, like the means."""
    means: Tensor


class HyperpriorCodec(PlainTransforms):
    """Latents coded as Gaussians, whose scales and means follow from side information, and from a context if any.

        x ─ g_a ─ y ─┬─ Q ─ y_hat ─ g_s ─ x_hat
                     │      └─ Gaussian(means, scales) ─ bits
                     └─ h_a ─ z ─ Q ─ z_hat ─ h_s ─ features ─┬─ scales, means
                                              y_hat known ────┘ context

    A method hands its parts to the constructor. h_s gives features of all latents' positions, (N, F, 4h, 4w) of z
    (N, C, h, w). Without a context model F is M or 2 M: scales, or scales and then means, of M latents. A context model
    is a module `(features, known) -> (scales, means)` whose positions of the first colour of a checkerboard depend on
    no latent, and the others on those of the first (`layers/checkerboard.py`): latents are coded in two passes. Another
    order is another `passes`, with its `noisy_likelihood` for training.

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
    mean_grid: float | None = GRID
    """Means of a context are multiples of one over it; None: float32 is their grid."""

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

    def passes(self, features: Tensor, known: Tensor, size: tuple[int, int], point: OperatingPoint) -> Iterator[Pass]:
        """Latents of one image in the order of coding; `known` (M, h * w) holds those of the passes before.

        Features (1, F, h, w) are what h_s gives in float64 on the CPU.
        """
        if self.context is None:
            scales, means = self.gaussians(features, known.view(1, -1, *size))
            means = torch.zeros_like(scales) if means is None else means
            yield Pass(ALL, ALL, scales[0].flatten(1), means[0].flatten(1))
            return
        first = first_colour(*size).flatten()
        for places in (first.nonzero()[:, 0], (~first).nonzero()[:, 0]):
            found = in_float64(self.context, features, known.view(1, -1, *size).double())
            scales, means = (part[0].flatten(1)[:, places] for part in found)
            yield Pass(ALL, places, scales, self.on_grid(means))

    def on_grid(self, means: Tensor) -> Tensor:
        """Means without last digits, in which machines differ: they would go on to later passes."""
        # Latents that no image has, from a hostile file, can overflow.
        means = means.nan_to_num(0).clamp(-LARGEST, LARGEST)
        return (
            means.float().double() if self.mean_grid is None else torch.round(means * self.mean_grid) / self.mean_grid
        )

    def symbols(self, y: Tensor, part: Pass, point: OperatingPoint) -> Tensor:
        """Integers, as floats, that stand for latents y (c, p) of a pass."""
        return self.entropy_y.quantise(y, part.means.to(y))

    def restored(self, symbols: Tensor, part: Pass, point: OperatingPoint) -> Tensor:
        """Latents (c, p) of symbols, float32: what the synthesis transform takes, and later passes know."""
        return symbols + part.means.to(symbols)

    def side_model(self, point: OperatingPoint) -> tuple[FactorisedCoding, Any]:
        """Entropy model of z, and its quantisation bin width; in training perhaps a tensor, which is learned."""
        return self.entropy_z, 1.0

    def likelihoods(self, y: Tensor, point: OperatingPoint) -> tuple[Tensor, dict[str, Tensor]]:
        """Noisy or quantised latents, likelihoods of y and z; quantised ones are those of `encode_latents`."""
        model, step = self.side_model(point)
        z_hat, z_likelihood = model(self.hyper_analysis(y), training=self.training, step=step)  # pyright: ignore
        if self.training:
            y_hat, likelihood = self.noisy_likelihood(y.float(), self.h_s(z_hat), point)
            return y_hat, {"y": likelihood, "z": z_likelihood}
        images = [self._estimate(*one, point) for one in zip(y.split(1), z_hat.split(1), strict=True)]
        y_hat, likelihood = (torch.cat(parts) for parts in zip(*images, strict=True))
        return y_hat.contiguous(memory_format=self.memory_format), {"y": likelihood, "z": z_likelihood}

    def noisy_likelihood(self, y: Tensor, features: Tensor, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """What training takes for quantised latents (N, M, h, w), and their likelihood."""
        y_hat = self.entropy_y.noisy(y)
        scales, means = self.gaussians(features, y_hat * first_colour(*y.shape[-2:], device=y.device))
        means = torch.zeros_like(y_hat) if means is None else means
        return y_hat, self.entropy_y.likelihood(y_hat, scales, means)

    @torch.no_grad()
    def _estimate(self, y: Tensor, z_hat: Tensor, point: OperatingPoint) -> tuple[Tensor, Tensor]:
        """Quantised latents of one image, and the likelihoods that `encode_latents` codes them with."""
        flat = _flat(y)
        symbols, scales = torch.empty_like(flat), torch.empty_like(flat)

        def quantise(part: Pass) -> Tensor:
            own = self.symbols(flat[part.channels, part.positions], part, point)
            symbols[part.channels, part.positions] = own
            scales[part.channels, part.positions] = part.scales.float()
            return own

        y_hat = self._in_passes(z_hat, (y.shape[-2], y.shape[-1]), point, quantise).to(y.device)
        symbols, scales = symbols.view_as(y).to(y_hat), scales.view_as(y).to(y_hat)
        return y_hat, self.entropy_y.likelihood(symbols, scales, torch.zeros_like(symbols))

    def encode_latents(self, y: Tensor, point: OperatingPoint) -> tuple[list[bytes], dict[str, Tensor]]:
        """Two strings, z then y; that of y has the order of the passes."""
        require_finite(y)
        model, step = self.side_model(point)
        z_string, z_hat = model.encode(self.hyper_analysis(y), step)
        flat = _flat(y)
        symbols: list[np.ndarray] = []
        rows: list[np.ndarray] = []

        def quantise(part: Pass) -> Tensor:
            own = self.symbols(flat[part.channels, part.positions], part, point)
            symbols.append(to_int32(own))
            rows.append(self.entropy_y.rows(part.scales))
            return own

        y_hat = self._in_passes(z_hat, (y.shape[-2], y.shape[-1]), point, quantise)
        string = self.entropy_y.tables.encode(np.concatenate(symbols), np.concatenate(rows))
        return [z_string, string], {"y": y_hat.to(y.device), "z": z_hat}

    def decode_image_latents(
        self, strings: Sequence[bytes], size: tuple[int, int], point: OperatingPoint
    ) -> dict[str, Tensor]:
        """Latents of the two strings."""
        self.expect_strings(strings, 2)
        model, step = self.side_model(point)
        z_hat = model.decode(strings[0], (size[0] // 4, size[1] // 4), step)
        reader = StringReader(self.entropy_y.tables, strings[1])

        def read(part: Pass) -> Tensor:
            found = reader.read(self.entropy_y.rows(part.scales))
            return torch.from_numpy(found).view(part.scales.shape).float()

        y_hat = self._in_passes(z_hat, size, point, read)
        reader.close()
        return {"y": y_hat.to(self.entropy_y.scale_table.device), "z": z_hat}

    @property
    def latents(self) -> int:
        """Channels of y."""
        last = [module for module in self.g_a.modules() if isinstance(module, nn.Conv2d)][-1]
        return last.out_channels

    @torch.no_grad()
    def _in_passes(
        self, z_hat: Tensor, size: tuple[int, int], point: OperatingPoint, symbols_of: Callable[[Pass], Tensor]
    ) -> Tensor:
        """Quantised latents of one image, (1, M, h, w) float32 on the CPU; `symbols_of` gives those of each pass."""
        known = torch.zeros(self.latents, size[0] * size[1])
        for part in self.passes(in_float64(self.h_s, z_hat), known, size, point):
            known[part.channels, part.positions] = self.restored(symbols_of(part), part, point)
        return known.view(1, -1, *size)


def _flat(y: Tensor) -> Tensor:
    """Latents of one image as the passes take them: (M, h * w), float32 on the CPU."""
    return y.detach()[0].flatten(1).float().cpu()
