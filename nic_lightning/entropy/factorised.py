"""Factorised latents: one learned density a channel, the entropy bottleneck."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nic_lightning.entropy.model import MAX_SYMBOL, TAIL_MASS, EntropyModel, require_finite, to_int32
from nic_lightning.entropy.tables import CdfTables, StringReader, interpolate
from nic_lightning.errors import UserError
from nic_lightning.layers.precision import without_autocast

_MAX_SYMBOLS = 8192
"""Symbols of one table at most; rarer ones are escape-coded. An untrained density can have far tails."""
_MAX_CHANNELS = 8192
"""Of an entropy bottleneck. Networks are made in memory on the meta device, too, where room is reckoned."""
_INITIAL_REACH = 10.0
"""Quantiles begin at plus and minus this, and the density about as wide."""
_FARTHEST = 1e5
"""How far from 0 quantiles are searched."""
_PART = 2**22
"""Symbols that are coded at a time."""
_ALL = slice(None)


class FactorisedCoding:
    """Real bits of a factorised latent: quantise around medians, one table row a channel."""

    channels: int
    steps: tuple[float, ...]
    medians: Tensor
    tables: CdfTables

    def quantise(self, y: Tensor, step: float = 1.0, channels: slice = _ALL) -> Tensor:
        """Symbols (N, C, h, w), integers as floats: round((y - median) / step), as far as the coder reaches.

        Of some `channels` of y, where these are given; `dequantise` takes the symbols of these.
        """
        return torch.round((y[:, channels] - self.medians[:, channels]) / step).clamp(-MAX_SYMBOL, MAX_SYMBOL)

    def dequantise(self, symbols: Tensor, step: float = 1.0, channels: slice = _ALL) -> Tensor:
        """Latents of symbols."""
        return symbols * step + self.medians[:, channels]

    def encode(self, y: Tensor, step: float = 1.0) -> tuple[bytes, Tensor]:
        """String of one image's latents (1, C, h, w), and the latents as the decoder will see them."""
        require_finite(y)
        y_hat = torch.empty_like(y)
        parts = self._symbols_backwards(y, y_hat, step)
        first = self.steps.index(step) * self.channels
        return self.tables.encode_backwards(y.numel(), ((s, self._rows(y, c, first)) for s, c in parts)), y_hat

    def decode(self, string: bytes, size: tuple[int, int], step: float = 1.0) -> Tensor:
        """Latents (1, C, h, w) of a string; raises BitstreamError for one that `encode` did not write."""
        reader = StringReader(self.tables, string)
        y_hat = self._read(reader, self.tables, self.steps.index(step) * self.channels, size, step)
        reader.close()
        return y_hat

    def _symbols_backwards(self, y: Tensor, y_hat: Tensor, step: float) -> Iterator[tuple[np.ndarray, slice]]:
        """Symbols of a few channels at a time (int32, flat), the last first, and which; y_hat is filled meanwhile."""
        for channels in reversed(self._few_channels(y.shape[-2:])):
            symbols = self.quantise(y, step, channels)
            y_hat[:, channels] = self.dequantise(symbols, step, channels)
            yield to_int32(symbols), channels

    def _read(self, reader: StringReader, tables: CdfTables, first: int, size: tuple[int, int], step: float) -> Tensor:
        """The latents that come next in a string, coded by `tables`, whose row `first` is that of channel 0."""
        y_hat = self.medians.new_empty((1, self.channels, *size))
        for channels in self._few_channels(size):
            symbols = torch.from_numpy(reader.read(self._rows(y_hat, channels, first), tables))
            symbols = symbols.view(1, -1, *size).to(y_hat)
            y_hat[:, channels] = self.dequantise(symbols, step, channels)
        return y_hat

    def _few_channels(self, size: tuple[int, ...]) -> list[slice]:
        """All channels, as many at a time as make _PART symbols: what a large image's arrays are made for."""
        few = max(1, _PART // max(1, size[0] * size[1]))
        return [slice(c, min(c + few, self.channels)) for c in range(0, self.channels, few)]

    def _rows(self, y: Tensor, channels: slice = _ALL, first: int = 0) -> np.ndarray:
        """Table row of each of one image's latents, those of channel c in row `first + c`."""
        rows = np.arange(first, first + self.channels, dtype=np.int32)[channels]
        return np.repeat(rows, y.shape[-2] * y.shape[-1])


class EntropyBottleneck(FactorisedCoding, EntropyModel):
    """Factorised density, one small monotone network a channel (Ballé et al. 2018, appendix 6.1).

    `filters=(3, 3, 3)` is tensorflow-compression's network (46 parameters a channel, quantiles included).
    `steps` are the quantisation bin widths that tables are made for; row `s * channels + c` serves step s, channel c.
    `reach` is how far from 0 the quantiles begin, and about how wide the density is then.
    """

    target: Tensor

    def __init__(
        self,
        channels: int,
        filters: tuple[int, ...] = (3, 3, 3),
        steps: tuple[float, ...] = (1.0,),
        reach: float = _INITIAL_REACH,
    ):
        if channels > _MAX_CHANNELS:
            raise UserError(f"An entropy model of {channels} channels is too large; {_MAX_CHANNELS} are the most.")
        super().__init__()
        self.channels, self.filters = int(channels), tuple(int(f) for f in filters)
        self.steps = tuple(float(s) for s in steps)
        widths = (1, *self.filters, 1)
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        slope = reach ** (1 / (len(widths) - 1))  # the layers' together make a density of that reach
        for fan_in, fan_out in pairwise(widths):
            weight = math.log(math.expm1(1 / slope / fan_out))  # softplus of it is 1 / (slope * fan_out)
            self.matrices.append(nn.Parameter(torch.full((channels, fan_out, fan_in), weight)))
            self.biases.append(nn.Parameter(torch.empty(channels, fan_out, 1).uniform_(-0.5, 0.5)))
        for width in self.filters:
            self.factors.append(nn.Parameter(torch.zeros(channels, width, 1)))
        self.quantiles = nn.Parameter(torch.tensor([-reach, 0.0, reach]).repeat(channels, 1, 1))
        logit = math.log(2 / TAIL_MASS - 1)
        self.register_buffer("target", torch.tensor([-logit, 0.0, logit]))

    @property
    def table_count(self) -> int:
        """One table for each step and channel."""
        return len(self.steps) * self.channels

    @property
    def medians(self) -> Tensor:
        """Centres of the quantisation grid, (1, C, 1, 1)."""
        return self.quantiles[:, 0, 1].detach()[None, :, None, None]

    def forward(self, y: Tensor, training: bool | None = None, step: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """Noisy (training) or rounded latents and their likelihoods, both (N, C, h, w), float32.

        The noise is uniform and as wide as a bin; the likelihood is the density's mass in the bin around the latent.
        In training the bin width may be a tensor, (), which gradients reach.
        """
        training = self.training if training is None else training
        with without_autocast(y.device.type):
            y = y.to(self.quantiles.dtype)
            if training:
                half = step / 2 if isinstance(step, float) else 0.5
                noise = torch.empty_like(y).uniform_(-half, half)
                y_hat = y + (noise if isinstance(step, float) else noise * step)
            else:
                y_hat = self.dequantise(self.quantise(y, float(step)), float(step))
            n, c, h, w = y_hat.shape
            flat = y_hat.permute(1, 0, 2, 3).reshape(c, 1, -1)
            likelihood = self.likelihood_lower_bound(self._mass(flat, step)[0])
            return y_hat, likelihood.view(c, n, h, w).permute(1, 0, 2, 3)

    def _mass(self, values: Tensor, step: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probability of the bin around each value (C, 1, M), and the logits at its lower and upper edge."""
        edges = torch.cat([values - step / 2, values + step / 2], dim=-1)
        lower, upper = self._logits_cumulative(edges, stop_gradient=False).chunk(2, dim=-1)
        # sigmoid(u) - sigmoid(l) cancels in the right tail; by symmetry evaluate there on the left one.
        sign = -torch.sign(lower.detach() + upper.detach())
        sign = torch.where(sign == 0, torch.ones_like(sign), sign)
        return (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs(), lower, upper

    def _logits_cumulative(self, inputs: Tensor, stop_gradient: bool) -> Tensor:
        logits = inputs
        for i, matrix in enumerate(self.matrices):
            bias = self.biases[i]
            factor = self.factors[i] if i < len(self.filters) else None
            if stop_gradient:
                matrix, bias = matrix.detach(), bias.detach()
                factor = None if factor is None else factor.detach()
            logits = torch.baddbmm(bias, F.softplus(matrix), logits)
            if factor is not None:
                logits = torch.addcmul(logits, torch.tanh(factor), torch.tanh(logits))
        return logits

    def loss(self) -> Tensor:
        """Distance of the quantiles' logits from those of TAIL_MASS / 2, 1/2 and 1 - TAIL_MASS / 2; only they learn."""
        return torch.abs(self._logits_cumulative(self.quantiles, stop_gradient=True) - self.target).sum()

    @torch.no_grad()
    def update(self, update_quantiles: bool = True) -> None:
        """Make the integer tables anew, quantiles by bisection first.

        Raises UserError when the density is not finite, for which the bisection would not end.
        """
        if not all(torch.isfinite(p).all() for p in self.parameters()):
            raise UserError("An entropy model is not finite: training diverged; lower the learning rate.")
        if update_quantiles:
            for k, target in enumerate(self.target):
                self.quantiles[:, 0, k] = self._quantile(target)
        pmfs, tails, offsets = [], [], []
        for step in self.steps:
            below, median, above = (self.quantiles[:, 0, k] for k in range(3))
            reach = [
                torch.ceil((d / step).clamp(0, _MAX_SYMBOLS // 2 - 1)).int() for d in (median - below, above - median)
            ]
            least, most = int(reach[0].max()), int(reach[1].max())
            symbols = torch.arange(-least, most + 1, device=median.device)
            values = (median[:, None] + step * symbols)[:, None, :]
            mass, lower, upper = (part[:, 0].cpu() for part in self._mass(values, step))
            for c in range(self.channels):
                first, last = least - int(reach[0][c]), least + int(reach[1][c])
                pmfs.append(mass[c, first : last + 1])
                tails.append(float(torch.sigmoid(lower[c, first]) + torch.sigmoid(-upper[c, last])))
                offsets.append(-int(reach[0][c]))
        self._store(pmfs, tails, offsets)

    def _quantile(self, target: Tensor) -> Tensor:
        """Where the density's logits are `target`, (C,), by bisection to 1e-3 or the 1e-4th part."""

        def logits(at: Tensor) -> Tensor:
            return self._logits_cumulative(at, stop_gradient=True)

        low, high = (self.quantiles.new_full((self.channels, 1, 1), end) for end in (-_FARTHEST, _FARTHEST))
        low = torch.where(logits(high) < target, high, low)  # beyond the search: its end
        high = torch.where(logits(low) > target, low, high)
        while not torch.isclose(low, high, rtol=1e-4, atol=1e-3).all():
            middle = (low + high) / 2
            found = logits(middle)
            low = torch.where(found <= target, middle, low)
            high = torch.where(found >= target, middle, high)
        return ((low + high) / 2)[:, 0, 0]


class BetweenBottlenecks(FactorisedCoding):
    """Entropy model between two trained ones, for a lambda between theirs: same interface, evaluation only.

    Medians are mixed linearly and tables by displacement interpolation (`tables.interpolate`), both with weight t of
    `high`. Nothing is learned and nothing but t is transmitted.
    """

    def __init__(self, low: EntropyBottleneck, high: EntropyBottleneck, t: float):
        self.channels, self.steps = low.channels, (1.0,)
        self.medians = (1 - t) * low.medians + t * high.medians
        self.tables = interpolate(low.tables, high.tables, t)

    def __call__(self, y: Tensor, training: bool = False, step: float = 1.0) -> tuple[Tensor, Tensor]:
        """Rounded latents and their likelihoods by the interpolated tables, both (N, C, h, w)."""
        if training:
            raise UserError("Entropy models between two trained lambdas are for evaluation; train at a trained lambda.")
        symbols = self.quantise(y, step)
        rows = np.tile(self._rows(y), len(y))
        bits = torch.from_numpy(self.tables.bits(to_int32(symbols), rows)).view_as(y).to(y)
        return self.dequantise(symbols, step), torch.exp2(-bits)


class BetweenSteps(BetweenBottlenecks):
    """Entropy model of a bin width between two that one bottleneck has tables of: same interface, evaluation only.

    Quantiles of symbols are proportional to one over the bin width, so tables are mixed with the weights that mix it.

    Args:
        model: a bottleneck of several steps.
        i: index of the first of the two; the other is the next.
        step: the bin width.
    """

    def __init__(self, model: EntropyBottleneck, i: int, step: float):
        self.channels, self.steps, self.medians = model.channels, (step,), model.medians
        low, high = (model.tables.some(slice(k * self.channels, (k + 1) * self.channels)) for k in (i, i + 1))
        first, last = (1 / model.steps[k] for k in (i, i + 1))
        t = 0.0 if first == last else min(1.0, max(0.0, (1 / step - first) / (last - first)))
        self.tables = interpolate(low, high, t)
