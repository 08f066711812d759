"""What adapted tables cost and save: side information of a forward pass, and rates by channel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from nic_lightning.entropy.static_window import TOTAL
from nic_lightning.entropy.tables import CdfTables


@dataclass(frozen=True, eq=False)
class TableRates:
    """Bits that one image's latents take, by channel, float64 (C,), without the digits of escaped symbols.

    Digits are the same in all. `ideal` is the latents' own entropy, escapes taken as one symbol: no tables take less.
    """

    static: np.ndarray
    adapted: np.ndarray
    ideal: np.ndarray
    side: float
    """Bits of q and of the flag, where adapted tables are sent."""

    @property
    def chosen(self) -> float:
        """Bits of the cheaper tables, flag and side information included."""
        return min(float(self.static.sum()) + 1.0, float(self.adapted.sum()) + self.side)

    @classmethod
    def of(
        cls, static: np.ndarray, adapted: np.ndarray, counts: np.ndarray, tables: CdfTables, first: int, side: float
    ) -> TableRates:
        """Rates of symbols' `counts` (C, width), the first of which counts symbol `first`."""
        inside = _inside(tables, first, counts.shape[1])
        events = np.concatenate(
            [np.where(inside, counts, 0), np.where(inside, 0, counts).sum(1, keepdims=True)], axis=1
        )
        total = counts.sum(1, keepdims=True)
        ideal = (events * np.log2(total / np.where(events > 0, events, total))).sum(1)
        return cls(static, adapted, ideal, side)


def table_bits(counts: np.ndarray, first: int, tables: CdfTables) -> np.ndarray:
    """Bits of symbols counted by channel, (C, width) to (C,): `tables.bits` without the digits of escapes.

    The first column counts symbol `first` and what is below, the last one what is above: both outside every table.
    """
    inside = _inside(tables, first, counts.shape[1])
    place = np.arange(counts.shape[1]) + first - tables.offsets[:, None]
    entry = np.where(inside, place, tables.lengths[:, None] - 2)
    mass = np.take_along_axis(np.diff(tables.cdf.astype(np.int64), axis=1), entry, 1)
    return -(counts * np.log2(mass / TOTAL)).sum(1)


def _inside(tables: CdfTables, first: int, width: int) -> np.ndarray:
    place = np.arange(width) + first - tables.offsets[:, None]
    return (place >= 0) & (place < tables.lengths[:, None] - 2)


@dataclass(frozen=True, eq=False)
class SideInformation:
    """What one adapted bottleneck sends beside the latents of a batch, and what it saves by that."""

    q: Tensor
    """Likelihoods (N, side, bins / 8); ones for images that static tables are chosen for."""
    flag: Tensor
    """Likelihood of the flag, (N, 1, 1)."""
    saved: Tensor
    """(N,) bits that the latents take less than by the static tables; q and the flag are not in."""
    rates: tuple[TableRates, ...] = ()
    """One for each image, outside training."""


_NOTES: ContextVar[list[SideInformation] | None] = ContextVar("side_information", default=None)
_PART: ContextVar[float] = ContextVar("part_of_image", default=1.0)


@contextmanager
def side_information() -> Iterator[list[SideInformation]]:
    """What adapted bottlenecks send in the forward passes meanwhile, one entry for each call of one.

    Within another such context both get the entries, the outer one at the end of the inner one.
    """
    notes, outer = [], _NOTES.get()
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)
        if outer is not None:
            outer.extend(notes)


def note(side: SideInformation) -> None:
    """Hand over what a forward pass sends, to whoever asks for it."""
    notes = _NOTES.get()
    if notes is not None:
        notes.append(side)


@contextmanager
def parts_of_larger_images(factor: float) -> Iterator[None]:
    """Train on crops that stand for images of `factor` times as many latents: networks are told the images' size."""
    token = _PART.set(factor)
    try:
        yield
    finally:
        _PART.reset(token)


def part_of_image() -> float:
    """How many times as many latents as a crop the image has that it stands for."""
    return _PART.get()
