"""Gaussian latents whose scale, and mean if any, follow from side information."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

from nic_lightning.entropy.model import MAX_SYMBOL, TAIL_MASS, EntropyModel, LowerBound, require_finite, to_int32
from nic_lightning.layers.precision import without_autocast

_WITHOUT_ROW_0: ContextVar[bool] = ContextVar("without_row_0", default=False)


@contextmanager
def rows_of_file_version(version: int) -> Iterator[None]:
    """Choose the rows of Gaussian tables as the coder of that .nic version did; newer coders all do the same."""
    token = _WITHOUT_ROW_0.set(version < 2)
    try:
        yield
    finally:
        _WITHOUT_ROW_0.reset(token)


class GaussianConditional(EntropyModel):
    """Conditional Gaussian (Ballé et al. 2018); a table for each of 64 log-spaced scales."""

    SCALE_MIN, SCALE_MAX, LEVELS = 0.11, 256.0, 64
    scale_table: Tensor
    scale_bound: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lower_bound_scale = LowerBound(self.SCALE_MIN)
        scales = torch.linspace(math.log(self.SCALE_MIN), math.log(self.SCALE_MAX), self.LEVELS, device="cpu").exp()
        self.register_buffer("scale_table", torch.tensor(scales.tolist()))
        self.register_buffer("scale_bound", torch.tensor([self.SCALE_MIN]))

    def forward(
        self, y: Tensor, scales: Tensor, means: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        """Noisy or quantised latents and likelihoods given scales and means, all (N, C, h, w), in float32."""
        training = self.training if training is None else training
        with without_autocast(y.device.type):
            y, scales, means = y.float(), scales.float(), None if means is None else means.float()
            y_hat = self.noisy(y) if training else _rounded(y, means)
            return y_hat, self._bounded(y_hat if means is None else y_hat - means, scales)

    def likelihood(self, y_hat: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        """Likelihoods of latents that are noisy or quantised already, all (N, C, h, w), in float32."""
        with without_autocast(y_hat.device.type):
            return self._bounded(y_hat.float() - means.float(), scales.float())

    def _bounded(self, values: Tensor, scales: Tensor) -> Tensor:
        """Mass of the bin around each value, at least TAIL_MASS."""
        scales = self.lower_bound_scale(scales)
        values = torch.abs(values)  # in the left tail differences of the error function do not cancel
        mass = _cumulative((0.5 - values) / scales) - _cumulative((-0.5 - values) / scales)
        return self.likelihood_lower_bound(mass)

    @staticmethod
    def noisy(y: Tensor) -> Tensor:
        """Latents with the uniform noise, as wide as a bin, that stands for rounding in training."""
        return y + torch.empty_like(y).uniform_(-0.5, 0.5)

    @staticmethod
    def quantise(y: Tensor, means: Tensor | float = 0.0) -> Tensor:
        """Symbols, integers as floats: round(y - mean), as far as the coder reaches; y_hat is symbol + mean."""
        return torch.round(y - means).clamp(-MAX_SYMBOL, MAX_SYMBOL)

    @property
    def table_count(self) -> int:
        """One table a scale."""
        return self.LEVELS

    @torch.no_grad()
    def update(self) -> None:
        """Make the integer tables of the 64 scales, each as wide as leaves TAIL_MASS outside."""
        scales = self.scale_table.detach().float().cpu()
        widest = -float(torch.special.ndtri(torch.tensor(TAIL_MASS / 2, dtype=torch.float64)))
        reach = torch.ceil(scales * widest).int()
        lengths = (2 * reach + 1).tolist()
        distance = torch.abs(torch.arange(max(lengths)).int() - reach[:, None]).float()
        lower = _cumulative((-0.5 - distance) / scales[:, None])
        mass = _cumulative((0.5 - distance) / scales[:, None]) - lower
        pmfs = [row[:length] for row, length in zip(mass, lengths, strict=True)]
        self._store(pmfs, (2 * lower[:, 0]).tolist(), (-reach).tolist())

    def encode(self, y: Tensor, scales: Tensor, means: Tensor | None = None) -> tuple[bytes, Tensor]:
        """String of latents (1, C, h, w) given scales and means, and what `decode` makes of it with the very same."""
        if means is not None:
            y, means = y.to(self.scale_table), means.to(self.scale_table)
            require_finite(means)
        require_finite(y)
        symbols = self.quantise(y, 0.0 if means is None else means)
        string = self.tables.encode(to_int32(symbols), self.rows(scales))
        return string, symbols if means is None else symbols + means

    def decode(self, string: bytes, scales: Tensor, means: Tensor | None = None) -> Tensor:
        """Latents (1, C, h, w) of a string; raises BitstreamError for one that `encode` did not write."""
        symbols = torch.from_numpy(self.tables.decode(string, self.rows(scales))).view(scales.shape)
        symbols = symbols.to(self.scale_table)
        return symbols if means is None else symbols + means.to(self.scale_table)

    def rows(self, scales: Tensor) -> np.ndarray:
        """Table of each latent, flat int32: that of the smallest tabulated scale that is not below its own.

        The same of float32 and float64. Files of version 1 were written with 0.11 in the precision of the scales as the
        lowest bound: in float64 that lies above the table's first entry, float32's 0.11, and row 0 was never taken.
        """
        bounds = self.scale_table[:-1].to(scales)
        lowest = self.SCALE_MIN if _WITHOUT_ROW_0.get() else float(bounds[0])
        return torch.bucketize(scales.clamp_min(lowest).contiguous(), bounds).flatten().int().cpu().numpy()


def _rounded(y: Tensor, means: Tensor | None) -> Tensor:
    return torch.round(y) if means is None else torch.round(y - means) + means


def _cumulative(x: Tensor) -> Tensor:
    """The standard normal distribution function, exact far into the left tail."""
    return 0.5 * torch.erfc(-(2**-0.5) * x)
