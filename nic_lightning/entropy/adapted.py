"""A factorised entropy model whose tables are adapted to each image, and sent with it (Ulhaq and Bajic 2024)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nic_lightning.entropy.distribution import STRIDE, DistributionTransforms, size_level
from nic_lightning.entropy.exact_distribution import ExactSynthesis, adapted_tables
from nic_lightning.entropy.factorised import EntropyBottleneck, FactorisedCoding
from nic_lightning.entropy.model import EntropyModel, require_finite, to_int32
from nic_lightning.entropy.side_information import SideInformation, TableRates, note, part_of_image, table_bits
from nic_lightning.entropy.static_window import StaticWindow
from nic_lightning.entropy.tables import CdfTables, StringReader, encode_backwards
from nic_lightning.errors import BitstreamError
from nic_lightning.layers.precision import without_autocast
from nic_lightning.layers.soft_histogram import hard_histogram, histogram

FLAG = CdfTables(
    np.array([[0, 1 << 15, (1 << 16) - 1, 1 << 16]], np.int32), np.array([4], np.int32), np.zeros(1, np.int32)
)
"""First symbol of a string: 0, the static tables, takes exactly one bit; 1, adapted ones, 4e-5 bits more."""
_FLAG_BITS = FLAG.bits(np.arange(2), np.zeros(2, np.int32))
_REACH = 1.25
"""Of the density of q at first, most of which is 0 then: at 10, side information begins with 5 bits a symbol."""
_MOST = 2047.0
"""Largest absolute value of a symbol of q that is sent."""


@dataclass(frozen=True)
class Plan:
    """How one image is coded."""

    adapted: bool
    q: np.ndarray
    """Symbols of q (side, bins / 8), int32; sent where `adapted`."""
    tables: CdfTables
    """What its latents are coded with, and in `first` the row of channel 0."""
    first: int
    rates: TableRates


class AdaptedBottleneck(FactorisedCoding, EntropyModel):
    """Takes the place of a trained `EntropyBottleneck`: same latents, same medians, tables adapted where that pays.

        y ─ histogram ─ p ─ h_a ─ q ─ Q ─ q_hat ─ h_s ─ + log p_static ─ p_hat: tables of y
                                  └─ EB_q ─ bits

    The string of an image holds one bit, then, where it says "adapted", the symbols of q, then the latents. Costs of
    integer tables are compared, so an image takes at most one bit more than with the static tables. Channels that are
    nearly always one symbol keep their rows (`static_window.DEAD`), and no row has symbols that its static one has not.

    Of the trained bottleneck, medians and tables are kept and its density is not: nothing makes these tables anew. The
    networks are those of `DistributionTransforms`, whose arguments follow; decoders take them as integers that
    `update` has made (`ExactSynthesis`).

    Args:
        static: the trained bottleneck; where it has no tables yet, a copy of it makes them.
        options: of `DistributionTransforms`.
    """

    centres: Tensor

    def __init__(self, static: EntropyBottleneck, **options: int):
        super().__init__()
        self.channels, self.steps = static.channels, static.steps
        self.register_buffer("centres", torch.zeros(self.channels))
        self.transforms = DistributionTransforms(self.channels, **options)
        self.entropy_q = EntropyBottleneck(self.transforms.side, reach=_REACH)
        self.exact = ExactSynthesis(self.transforms)
        self._window: tuple[CdfTables, StaticWindow] | None = None
        self.take(static)

    @torch.inference_mode(False)
    @torch.no_grad()
    def take(self, static: EntropyBottleneck) -> None:
        """Have the medians and tables of a trained bottleneck of as many channels and the same steps."""
        if static.quantiles.is_meta:
            return  # shapes are asked for, and tables have any
        if not static._cdf_length.numel():
            static = copy.deepcopy(static)
            static.update()
        self.centres = static.medians.flatten().clone()
        for name in ("_offset", "_quantized_cdf", "_cdf_length"):
            setattr(self, name, getattr(static, name).clone())

    @property
    def table_count(self) -> int:
        """One static table for each step and channel."""
        return len(self.steps) * self.channels

    @property
    def medians(self) -> Tensor:
        """Centres of the quantisation grid, (1, C, 1, 1)."""
        return self.centres[None, :, None, None]

    def update(self) -> None:
        """Make what decoders need of the networks: integer weights, and the tables of q. The static tables stay."""
        self.exact.make(self.transforms)
        self.entropy_q.update()

    def forward(self, y: Tensor, training: bool | None = None, step: float = 1.0) -> tuple[Tensor, Tensor]:
        """Noisy (training) or rounded latents and their likelihoods, both (N, C, h, w).

        The likelihoods are those of the rounded latents, in training by adapted tables, as a mean over each channel,
        otherwise by those that are chosen. What q and the flag take goes to `side_information`.
        """
        training = self.training if training is None else training
        with without_autocast(y.device.type):
            y = y.to(self.centres.dtype)
            return self._noisy(y, step) if training else self._rounded(y, step)

    def _noisy(self, y: Tensor, step: float) -> tuple[Tensor, Tensor]:
        window, level = self._static(step, y), size_level(y[0, 0].numel() * part_of_image())
        p = histogram(((y - self.medians) / step).flatten(2), window.first, window.width)
        q = self.transforms.analysis(window.difference(p), level)[..., None]
        q_hat, q_likelihood = self.entropy_q(q, training=True)
        corrections = self.transforms.synthesis((q_hat - self.entropy_q.medians)[..., 0], level)
        bits = -(p * window.log2_probabilities(corrections)).sum(-1)
        saved = (-(p * window.log2).sum(-1) - bits).detach().sum(1) * y[0, 0].numel()
        note(SideInformation(q_likelihood[..., 0], y.new_full((len(y), 1, 1), 0.5), saved))
        y_hat = y + torch.empty_like(y).uniform_(-step / 2, step / 2)
        return y_hat, torch.exp2(-bits)[..., None, None].expand_as(y)

    def _rounded(self, y: Tensor, step: float) -> tuple[Tensor, Tensor]:
        symbols, plans = self.quantise(y, step), [self.plan(image, step) for image in y.split(1)]
        bits = [
            plan.tables.bits(to_int32(own), self._rows(own, first=plan.first))
            for plan, own in zip(plans, symbols.split(1), strict=True)
        ]
        likelihood = torch.exp2(-torch.from_numpy(np.stack(bits))).view_as(y).to(y)
        note(self._side_information(plans, y))
        return self.dequantise(symbols, step), likelihood

    def _side_information(self, plans: list[Plan], y: Tensor) -> SideInformation:
        rows = self._q_rows()
        q_bits = [self.entropy_q.tables.bits(p.q.ravel(), rows) if p.adapted else np.zeros(rows.size) for p in plans]
        q = torch.exp2(-torch.from_numpy(np.stack(q_bits))).view(len(plans), self.transforms.side, -1)
        flag = torch.exp2(-torch.from_numpy(_FLAG_BITS[[int(p.adapted) for p in plans]]))[:, None, None]
        rates = tuple(plan.rates for plan in plans)
        saved = torch.tensor([p.adapted * float((p.rates.static - p.rates.adapted).sum()) for p in plans])
        return SideInformation(q.to(y), flag.to(y), saved.to(y), rates)

    @torch.no_grad()
    def plan(self, y: Tensor, step: float = 1.0) -> Plan:
        """How the latents (1, C, h, w) of one image are coded; raises UserError where they are not finite."""
        require_finite(y)
        window, latents = self._static(step, y), y[0, 0].numel()
        few = (self.quantise(y, step, channels).flatten(2) for channels in self._few_channels(y.shape[-2:]))
        p = torch.cat([hard_histogram(symbols, window.first, window.width) for symbols in few], dim=1)
        with without_autocast(y.device.type):
            q = self.transforms.analysis(window.difference(p), size_level(latents))[..., None]
        symbols = to_int32(self.entropy_q.quantise(q).clamp(-_MOST, _MOST)).reshape(self.transforms.side, -1)
        static, adapted = self._rows_of(step), self._adapted(symbols, latents, step)
        counts = (p[0].double() * latents).round().cpu().numpy()
        bits = partial(table_bits, counts, window.first)
        side = float(self.entropy_q.tables.bits(symbols.ravel(), self._q_rows()).sum())
        rates = TableRates.of(bits(static), bits(adapted), counts, static, window.first, side + _FLAG_BITS[1])
        pays = self._pays(rates)
        tables, first = (adapted, 0) if pays else (self.tables, self.steps.index(step) * self.channels)
        return Plan(pays, symbols, tables, first, rates)

    def _pays(self, rates: TableRates) -> bool:
        return bool(rates.side + rates.adapted.sum() < _FLAG_BITS[0] + rates.static.sum())

    def encode(self, y: Tensor, step: float = 1.0) -> tuple[bytes, Tensor]:
        """String of one image's latents (1, C, h, w), and the latents as the decoder will see them."""
        plan, y_hat = self.plan(y, step), torch.empty_like(y)

        def parts() -> Iterator[tuple[CdfTables, np.ndarray, np.ndarray]]:
            for symbols, channels in self._symbols_backwards(y, y_hat, step):
                yield plan.tables, symbols, self._rows(y, channels, plan.first)
            if plan.adapted:
                yield self.entropy_q.tables, plan.q.ravel(), self._q_rows()
            yield FLAG, np.array([plan.adapted], np.int32), np.zeros(1, np.int32)

        return encode_backwards(y.numel() + plan.q.size + 1, parts()), y_hat

    def decode(self, string: bytes, size: tuple[int, int], step: float = 1.0) -> Tensor:
        """Latents (1, C, h, w) of a string; raises BitstreamError for one that `encode` did not write."""
        reader = StringReader(FLAG, string)
        flag = int(reader.read(np.zeros(1, np.int32))[0])
        if flag not in (0, 1):
            raise BitstreamError("The string names neither static nor adapted tables: the file is altered.")
        tables, first = self.tables, self.steps.index(step) * self.channels
        if flag:
            q = reader.read(self._q_rows(), self.entropy_q.tables).reshape(self.transforms.side, -1)
            tables, first = self._adapted(q, size[0] * size[1], step), 0
        y_hat = self._read(reader, tables, first, size, step)
        reader.close()
        return y_hat

    def _adapted(self, q: np.ndarray, latents: int, step: float) -> CdfTables:
        """Tables of all channels that follow from the symbols of q (side, bins / 8) and the size."""
        static, window = self._rows_of(step), self._static(step)
        live, bins = window.live.numpy(), window.supported
        corrections = self.exact.corrections(q, size_level(latents), bins)
        return adapted_tables(static, live, corrections, bins.start - self.transforms.bins // 2)

    def _q_rows(self) -> np.ndarray:
        return np.repeat(np.arange(self.transforms.side, dtype=np.int32), self.transforms.bins // STRIDE)

    def _rows_of(self, step: float) -> CdfTables:
        """Static tables of the channels at one step."""
        tables, first = self.tables, self.steps.index(step) * self.channels
        rows = slice(first, first + self.channels)
        return CdfTables(tables.cdf[rows], tables.lengths[rows], tables.offsets[rows])

    def _static(self, step: float, like: Tensor | None = None) -> StaticWindow:
        if self._window is None or self._window[0] is not self.tables:
            self._window = (self.tables, StaticWindow.of(self.tables, self.transforms.bins))
        first = self.steps.index(step) * self.channels
        return self._window[1].of_rows(slice(first, first + self.channels), like)
