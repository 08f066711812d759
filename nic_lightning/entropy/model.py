"""What entropy models share: a bound below likelihoods, and integer tables that are kept with the weights.

Parameters and buffers have the names, shapes and initial values of CompressAI's entropy models, so that state dicts
are interchangeable. CompressAI itself is not imported: it takes several seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nic_lightning.entropy.tables import CdfTables, to_cdf
from nic_lightning.errors import RunError, UserError
from nic_lightning.layers import gdn

TAIL_MASS = 1e-9
"""Probability that a table leaves to its escape, both tails together; also the least likelihood of a latent."""
MAX_SYMBOL = 2.0**30
"""Largest absolute value of a symbol; the coder's escape code ends a little above."""


class LowerBound(nn.Module):
    """max(x, bound) for training: below the bound, the gradient passes only where descent makes x larger.

    Ballé et al. 2018; a plain maximum would leave what once fell below the bound there for ever.
    """

    bound: Tensor

    def __init__(self, bound: float):
        super().__init__()
        self.register_buffer("bound", torch.tensor([float(bound)]))

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return gdn.LowerBound.apply(x, self.bound)  # pyright: ignore[reportReturnType]


class EntropyModel(nn.Module):
    """A bound below likelihoods, and CDF buffers of any size that load anywhere."""

    _quantized_cdf: Tensor
    _cdf_length: Tensor
    _offset: Tensor
    _tables: tuple[Tensor, int, CdfTables] | None = None
    """The buffer that the arrays were taken from, its version then, and the arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.likelihood_lower_bound = LowerBound(TAIL_MASS)
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):  # empty until the tables are made
            self.register_buffer(name, torch.empty(0, dtype=torch.int32))

    @property
    def table_count(self) -> int:
        """Rows that the tables must have."""
        raise NotImplementedError

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
        """Keep tables of these probabilities of symbols, each on the CPU, with the mass of the escape behind them."""
        with_escapes = (torch.cat([p, p.new_tensor([t])]).numpy() for p, t in zip(pmfs, tails, strict=True))
        rows = [torch.from_numpy(to_cdf(pmf)) for pmf in with_escapes]
        device = self._quantized_cdf.device
        self._quantized_cdf = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        self._cdf_length = torch.tensor([len(r) for r in rows], dtype=torch.int32, device=device)
        self._offset = torch.tensor(offsets, dtype=torch.int32, device=device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # nn.Module would refuse tables of another size than those that are here, or none.
        self._tables = None
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            stored, own = state_dict.get(prefix + name), getattr(self, name)
            if stored is not None and own.shape != stored.shape:
                setattr(self, name, torch.empty_like(stored, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tables"}


def to_int32(symbols: Tensor) -> np.ndarray:
    """Integer-valued latents within +-2^30 as flat int32, channels outermost; raises UserError for NaN."""
    require_finite(symbols)
    return symbols.detach().contiguous().flatten().to(torch.int32).cpu().numpy()


def require_finite(latents: Tensor) -> None:
    """Raise UserError for NaN and infinities."""
    if not torch.isfinite(latents).all():
        raise UserError("The codec's latents are not finite: the model diverged, or the image holds NaN.")
