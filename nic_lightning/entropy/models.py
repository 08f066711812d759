"""CompressAI's entropy models, with loading that works, one density evaluation for both bin edges, and our coder.

The classes keep CompressAI's parameters and buffers, so that state dicts are interchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from compressai.entropy_models import EntropyBottleneck as _CompressAiBottleneck
from compressai.entropy_models import GaussianConditional as _CompressAiGaussian
from compressai.entropy_models.entropy_models import pmf_to_quantized_cdf
from torch import Tensor
from torch.nn import functional as F

from nic_lightning.entropy.tables import CdfTables, interpolate
from nic_lightning.errors import RunError, UserError
from nic_lightning.layers.precision import without_autocast

_MAX_SYMBOLS = 8192
"""Symbols of one table at most; rarer ones are escape-coded. An untrained density can have far tails."""
_MAX_CHANNELS = 8192
"""Of an entropy bottleneck. CompressAI makes its networks in memory on the meta device, too, where room is reckoned."""
_MAX_SYMBOL = 2.0**30
"""Largest absolute value of a symbol; the coder's escape code ends a little above."""
_WITHOUT_ROW_0: ContextVar[bool] = ContextVar("without_row_0", default=False)


@contextmanager
def rows_of_file_version(version: int) -> Iterator[None]:
    """Choose the rows of Gaussian tables as the coder of that .nic version did; newer coders all do the same."""
    token = _WITHOUT_ROW_0.set(version < 2)
    try:
        yield
    finally:
        _WITHOUT_ROW_0.reset(token)


class _Tables:
    """What both models share: CDF buffers of any size that load anywhere, and their `CdfTables`."""

    _quantized_cdf: Tensor
    _cdf_length: Tensor
    _offset: Tensor
    _tables: tuple[Tensor, int, CdfTables] | None = None
    """The buffer that the arrays were taken from, its version then, and the arrays."""

    @property
    def table_count(self) -> int:
        """Rows that the tables must have."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        # CompressAI resizes these buffers only in CompressionModel.load_state_dict, which a parent module never calls.
        self._tables = None
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            stored, own = state_dict.get(prefix + name), getattr(self, name)
            if stored is not None and own.shape != stored.shape:
                setattr(self, name, torch.empty_like(stored, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def tables(self) -> CdfTables:
        """The stored integer tables, as arrays; raises RunError when they were never made."""
        source = self._quantized_cdf
        version = 0 if source.is_inference() else source._version
        # The tensor itself is compared: a new one may lie at the address of one that is gone.
        if self._tables is None or self._tables[0] is not source or self._tables[1] != version:
            arrays = (source, self._cdf_length, self._offset)
            tables = CdfTables(*(np.ascontiguousarray(a.cpu().numpy(), dtype=np.int32) for a in arrays))
            if len(tables.lengths) != self.table_count:
                raise RunError(f"The checkpoint holds {len(tables.lengths)} CDF tables instead of {self.table_count}.")
            self._tables = (source, version, tables)
        return self._tables[2]

    @torch.inference_mode(False)  # validation runs in inference mode, whose tensors no later training step may change
    def _store(self, pmfs: list[Tensor], tails: list[float], offsets: list[int]) -> None:
        rows = [pmf_to_quantized_cdf(torch.cat([p, p.new_tensor([t])])) for p, t in zip(pmfs, tails, strict=True)]
        device = self._quantized_cdf.device
        self._quantized_cdf = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        self._cdf_length = torch.tensor([len(r) for r in rows], dtype=torch.int32, device=device)
        self._offset = torch.tensor(offsets, dtype=torch.int32, device=device)

    def __getstate__(self):
        state: dict[str, object] = super().__getstate__()  # pyright: ignore[reportAttributeAccessIssue, reportAssignmentType]
        state.pop("_tables", None)
        return state


class _FactorisedCoding:
    """Real bits of a factorised latent: quantise around medians, one table row a channel."""

    channels: int
    steps: tuple[float, ...]
    medians: Tensor
    tables: CdfTables

    def quantise(self, y: Tensor, step: float = 1.0) -> Tensor:
        """Symbols (N, C, h, w), integers as floats: round((y - median) / step), as far as the coder reaches."""
        return torch.round((y - self.medians) / step).clamp(-_MAX_SYMBOL, _MAX_SYMBOL)

    def dequantise(self, symbols: Tensor, step: float = 1.0) -> Tensor:
        """Latents of symbols."""
        return symbols * step + self.medians

    def encode(self, y: Tensor, step: float = 1.0) -> tuple[bytes, Tensor]:
        """String of one image's latents (1, C, h, w), and the latents as the decoder will see them."""
        require_finite(y)
        symbols = self.quantise(y, step)
        return self.tables.encode(to_int32(symbols), self._rows(y.shape[-2:], step)), self.dequantise(symbols, step)

    def decode(self, string: bytes, size: tuple[int, int], step: float = 1.0) -> Tensor:
        """Latents (1, C, h, w) of a string; raises BitstreamError for one that `encode` did not write."""
        symbols = torch.from_numpy(self.tables.decode(string, self._rows(size, step)))
        symbols = symbols.view(1, self.channels, *size).to(self.medians)
        return self.dequantise(symbols, step)

    def _rows(self, size: tuple[int, ...], step: float) -> np.ndarray:
        first = self.steps.index(step) * self.channels
        return np.repeat(np.arange(first, first + self.channels, dtype=np.int32), size[0] * size[1])


def to_int32(symbols: Tensor) -> np.ndarray:
    """Integer-valued latents within +-2^30 as flat int32, channels outermost; raises UserError for NaN."""
    require_finite(symbols)
    return symbols.detach().contiguous().flatten().to(torch.int32).cpu().numpy()


def require_finite(latents: Tensor) -> None:
    """Raise UserError for NaN and infinities."""
    if not torch.isfinite(latents).all():
        raise UserError("The codec's latents are not finite: the model diverged, or the image holds NaN.")


class EntropyBottleneck(_FactorisedCoding, _Tables, _CompressAiBottleneck):
    """Factorised density, one small monotone network a channel (Ballé et al. 2018, appendix 6.1).

    `filters=(3, 3, 3)` is tensorflow-compression's network (46 parameters a channel, quantiles included).
    `steps` are the quantisation bin widths that tables are made for; row `s * channels + c` serves step s, channel c.
    """

    def __init__(self, channels: int, filters: tuple[int, ...] = (3, 3, 3), steps: tuple[float, ...] = (1.0,)):
        if channels > _MAX_CHANNELS:
            raise UserError(f"An entropy model of {channels} channels is too large; {_MAX_CHANNELS} are the most.")
        super().__init__(channels, filters=filters)
        self.steps = tuple(float(s) for s in steps)

    @property
    def table_count(self) -> int:
        """One table a step and channel."""
        return len(self.steps) * self.channels

    @property
    def medians(self) -> Tensor:
        """Centres of the quantisation grid, (1, C, 1, 1)."""
        return self.quantiles[:, 0, 1].detach()[None, :, None, None]

    def forward(self, y: Tensor, training: bool | None = None, step: float = 1.0) -> tuple[Tensor, Tensor]:
        """Noisy (training) or rounded latents and their likelihoods, both (N, C, h, w), float32.

        The noise is uniform and as wide as a bin; the likelihood is the density's mass in the bin around the latent.
        """
        training = self.training if training is None else training
        with without_autocast(y.device.type):
            y = y.to(self.quantiles.dtype)
            if training:
                y_hat = y + torch.empty_like(y).uniform_(-step / 2, step / 2)
            else:
                y_hat = self.dequantise(self.quantise(y, step), step)
            n, c, h, w = y_hat.shape
            flat = y_hat.permute(1, 0, 2, 3).reshape(c, 1, -1)
            likelihood = self._mass(flat, step)[0]
            if self.use_likelihood_bound:
                likelihood = self.likelihood_lower_bound(likelihood)
            return y_hat, likelihood.view(c, n, h, w).permute(1, 0, 2, 3)

    def _mass(self, values: Tensor, step: float) -> tuple[Tensor, Tensor, Tensor]:
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

    @torch.no_grad()
    def update(self, force: bool = True, update_quantiles: bool = True) -> bool:
        """Make the integer tables anew (always: stale tables cost bits), quantiles by bisection first.

        Raises UserError when the density is not finite, for which the bisection would not end.
        """
        if not all(torch.isfinite(p).all() for p in self.parameters()):
            raise UserError("An entropy model is not finite: training diverged; lower the learning rate.")
        if update_quantiles:
            self._update_quantiles()
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
        return True


class BetweenBottlenecks(_FactorisedCoding):
    """Entropy model between two trained ones, for a lambda between theirs: same interface, evaluation only.

    Medians are mixed linearly and tables by displacement interpolation (`tables.interpolate`), both with weight t of
    `high`. Nothing is learned and nothing but t is transmitted.
    """

    def __init__(self, low: EntropyBottleneck, high: EntropyBottleneck, t: float):
        self.channels, self.steps = low.channels, (1.0,)
        self.medians = (1 - t) * low.medians + t * high.medians
        self.tables = interpolate(low.tables, high.tables, t)

    def __call__(self, y: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Rounded latents and their likelihoods by the interpolated tables, both (N, C, h, w)."""
        if training:
            raise UserError("Entropy models between two trained lambdas are for evaluation; train at a trained lambda.")
        symbols = self.quantise(y)
        rows = np.tile(self._rows(y.shape[-2:], 1.0), len(y))
        bits = torch.from_numpy(self.tables.bits(to_int32(symbols), rows)).view_as(y).to(y)
        return self.dequantise(symbols), torch.exp2(-bits)


class GaussianConditional(_Tables, _CompressAiGaussian):
    """Gaussian whose scale, and mean if any, follow from side information; a table for each of 64 log-spaced scales."""

    SCALE_MIN, SCALE_MAX, LEVELS = 0.11, 256.0, 64

    def __init__(self):
        table = (
            torch.linspace(math.log(self.SCALE_MIN), math.log(self.SCALE_MAX), self.LEVELS, device="cpu").exp().tolist()
        )
        super().__init__(table, scale_bound=self.SCALE_MIN)

    def forward(
        self, y: Tensor, scales: Tensor, means: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        """Noisy or quantised latents and likelihoods given scales and means, all (N, C, h, w), in float32."""
        with without_autocast(y.device.type):
            means = None if means is None else means.float()
            return super().forward(y.float(), scales.float(), means, training=training)

    def likelihood(self, y_hat: Tensor, scales: Tensor, means: Tensor) -> Tensor:
        """Likelihoods of latents that are noisy or quantised already, all (N, C, h, w), in float32."""
        with without_autocast(y_hat.device.type):
            return self.likelihood_lower_bound(self._likelihood(y_hat.float(), scales.float(), means.float()))

    @staticmethod
    def quantise(y: Tensor, means: Tensor | float = 0.0) -> Tensor:
        """Symbols, integers as floats: round(y - mean), as far as the coder reaches; y_hat is symbol + mean."""
        return torch.round(y - means).clamp(-_MAX_SYMBOL, _MAX_SYMBOL)

    @property
    def table_count(self) -> int:
        """One table a scale."""
        return self.LEVELS

    @torch.inference_mode(False)
    def update(self) -> None:
        """Make the integer tables of the 64 scales."""
        super().update()

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
