"""The amortisation gap: what one table for all images costs an image, and how much of it each remedy wins back.

Bits of the same symbols, side information included, with the static tables, with tables that are adapted and sent
(`codecs/encoding_distribution.py`), with Gaussians fitted to the image (`gaussian_tables.py`), with a coder that counts
as it goes (`backward_adaptation.py`), and with tables of the image's own frequencies, sent for nothing. The last is the
entropy of the image's symbols: no way with one table a channel goes below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nic_lightning.analysis.backward_adaptation import BackwardRates, backward_rates
from nic_lightning.analysis.gaussian_tables import GaussianRates, gaussian_rates
from nic_lightning.analysis.table_events import TableEvents
from nic_lightning.codecs.base import OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.entropy.adapted import AdaptedBottleneck
from nic_lightning.entropy.factorised import EntropyBottleneck
from nic_lightning.entropy.model import to_int32
from nic_lightning.entropy.side_information import TableRates, side_information
from nic_lightning.entropy.tables import CdfTables
from nic_lightning.errors import UserError
from nic_lightning.media.image.fidelity import precise_psnr

WAYS = ("static", "adapted", "gaussian", "backward", "ideal")
"""Columns of rates. "adapted" is None for codecs that send no tables."""
Bottleneck = EntropyBottleneck | AdaptedBottleneck


class Coded(NamedTuple):
    """One call of a factorised entropy model."""

    latent: str
    """Name of the model in the codec that is wrapped."""
    model: Bottleneck
    y: Tensor
    step: float
    likelihood: Tensor


@dataclass(frozen=True, eq=False)
class LatentGap:
    """Bits of one image's latents of one factorised entropy model, without digits of escapes."""

    latent: str
    static: np.ndarray
    """(C,) by channel, and so are all arrays here."""
    ideal: np.ndarray
    gaussian: GaussianRates
    backward: BackwardRates
    adapted: TableRates | None
    """None where the codec sends no tables."""
    latents: int
    """Of a channel."""

    def bits(self, way: str) -> float | None:
        """Bits of the image in one of `WAYS`, with all side information, of the cheaper tables where it may choose."""
        if way == "adapted":
            return None if self.adapted is None else self.adapted.chosen
        return {
            "static": float(self.static.sum()),
            "ideal": float(self.ideal.sum()),
            "gaussian": self.gaussian.total,
            "backward": self.backward.total,
        }[way]

    @property
    def side(self) -> float:
        """Bits of q and of the flag that are sent."""
        rates = self.adapted
        if rates is None:
            return 0.0
        return rates.side if rates.adapted.sum() + rates.side < rates.static.sum() + 1 else 1.0


@dataclass(frozen=True, eq=False)
class ImageGap:
    """All factorised latents of one image at one operating point."""

    point: OperatingPoint
    pixels: int
    psnr: float
    rest: float
    """Estimated bits of what has other entropy models, and the digits of escapes: the same in every way."""
    latents: tuple[LatentGap, ...]

    def bpp(self, way: str) -> float | None:
        """Bits per pixel of the image in one of `WAYS`, the rest included."""
        bits = [latent.bits(way) for latent in self.latents]
        return None if None in bits else (self.rest + sum(b for b in bits if b is not None)) / self.pixels


@torch.no_grad()
def image_gap(codec: LearnedCodec, x: Tensor, point: OperatingPoint) -> ImageGap:
    """Rates of one image (1, 3, H, W) in [0, 1] at one of the codec's operating points.

    Raises:
        UserError: the codec has no factorised entropy model, or none of its own between two trained lambdas.
        RunError: its tables were never made.
    """
    with coded_latents(codec) as calls, side_information() as notes:
        output = codec(x, point)
    if not calls:
        raise UserError(
            f"Codec {codec.name} has no factorised entropy model of its own at point {point.label}; between two "
            "trained lambdas tables are interpolated."
        )
    adapted = iter([rates for note in notes for rates in note.rates])
    latents, rest = [], sum(_bits(likelihood) for likelihood in output.likelihoods.values())
    for call in calls:
        gap, digits = _latent_gap(call, next(adapted) if isinstance(call.model, AdaptedBottleneck) else None)
        latents.append(gap)
        rest += digits - _bits(call.likelihood)
    rest -= sum(_bits(note.q) + _bits(note.flag) for note in notes)
    psnr = float(precise_psnr(x, output.x_hat))
    return ImageGap(point, x.shape[-2] * x.shape[-1], psnr, max(rest, 0.0), tuple(latents))


@contextmanager
def coded_latents(codec: LearnedCodec) -> Iterator[list[Coded]]:
    """What the factorised entropy models of a codec are called with meanwhile, in the order of the calls."""
    calls: list[Coded] = []

    def hear(name: str, model: Any, args: Any, options: dict[str, Any], output: Any) -> None:
        step = options.get("step", args[2] if len(args) > 2 else 1.0)
        calls.append(Coded(name, model, args[0], step, output[1]))

    handles = [
        model.register_forward_hook(partial(hear, name), with_kwargs=True)
        for name, model in factorised_models(codec).items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def factorised_models(codec: nn.Module) -> dict[str, Bottleneck]:
    """Factorised entropy models of latents by name, without those of side information within them."""
    found = {name: m for name, m in codec.named_modules() if isinstance(m, EntropyBottleneck | AdaptedBottleneck)}
    inner = [name for name in found if any(name.startswith(f"{other}.") for other in found)]
    return {name.removeprefix("base."): m for name, m in found.items() if name not in inner}


def events_of(call: Coded) -> TableEvents:
    """Symbols of one image by the entries of the static tables."""
    model = call.model
    symbols = to_int32(model.quantise(call.y, call.step)).reshape(model.channels, -1)
    return TableEvents.of(symbols, static_tables(model, call.step))


def static_tables(model: Bottleneck, step: float) -> CdfTables:
    """The static tables of a model's channels at one step."""
    first = model.steps.index(step) * model.channels
    rows, tables = slice(first, first + model.channels), model.tables
    return CdfTables(tables.cdf[rows], tables.lengths[rows], tables.offsets[rows])


def _latent_gap(call: Coded, adapted: TableRates | None) -> tuple[LatentGap, float]:
    """Rates, and the bits of the digits of escapes."""
    events, model = events_of(call), call.model
    symbols = to_int32(model.quantise(call.y, call.step)).ravel()
    rows = np.repeat(np.arange(model.channels, dtype=np.int32), events.latents)
    static = events.bits()
    digits = float(events.tables.bits(symbols, rows).sum() - static.sum())
    gap = LatentGap(
        call.latent, static, events.ideal(), gaussian_rates(events), backward_rates(events), adapted, events.latents
    )
    return gap, max(digits, 0.0)


def _bits(likelihood: Tensor) -> float:
    return float(-torch.log2(likelihood.double()).sum())


def point_row(gaps: Sequence[ImageGap]) -> dict[str, Any]:
    """One row of the table: means over images of one operating point, rates in bits per pixel.

    `gap` is what the static tables lose, per cent of the whole rate; `closed_WAY` is the part of it in per cent that a
    way wins back, of mean rates; `side` the side information of adapted tables, per cent of their rate.
    """
    point, count = gaps[0].point, len(gaps)
    row: dict[str, Any] = {"label": point.label, "lmbda": point.lmbda, "images": count}
    row["psnr"] = sum(gap.psnr for gap in gaps) / count
    row["rest"] = sum(gap.rest / gap.pixels for gap in gaps) / count
    for way in WAYS:
        rates = [gap.bpp(way) for gap in gaps]
        row[way] = None if None in rates else sum(r for r in rates if r is not None) / count
    lost = row["static"] - row["ideal"]
    row["gap"] = 100 * lost / row["static"]
    for way in WAYS[1:-1]:
        row[f"closed_{way}"] = None if row[way] is None or lost <= 0 else 100 * (row["static"] - row[way]) / lost
    side = sum(sum(latent.side for latent in gap.latents) / gap.pixels for gap in gaps) / count
    row["side"] = None if row["adapted"] is None else 100 * side / row["adapted"]
    return row


def channel_rows(item: str, gap: ImageGap) -> Iterator[dict[str, Any]]:
    """Rows of one image and operating point by channel, in bits; of side information, `image_rows` tells."""
    for latent in gap.latents:
        for channel in range(len(latent.static)):
            yield {
                "item": item, "label": gap.point.label, "latent": latent.latent, "channel": channel,
                "latents": latent.latents, "static": latent.static[channel], "ideal": latent.ideal[channel],
                "adapted": None if latent.adapted is None else latent.adapted.adapted[channel],
                "gaussian": latent.gaussian.bits[channel], "gaussians": int(latent.gaussian.gaussians[channel]),
                "backward": latent.backward.bits[channel],
            }  # fmt: skip


def image_rows(item: str, gap: ImageGap) -> Iterator[dict[str, Any]]:
    """One row for each latent of one image and operating point, in bits, all side information included."""
    for latent in gap.latents:
        yield {
            "item": item, "label": gap.point.label, "latent": latent.latent, "pixels": gap.pixels, "psnr": gap.psnr,
            **{way: latent.bits(way) for way in WAYS}, "side": latent.side if latent.adapted else None,
            "weight": latent.backward.weight,
        }  # fmt: skip


@torch.no_grad()
def tables_macs(codec: LearnedCodec) -> dict[str, int]:
    """Multiply-accumulates of h_a and of h_s, for one image of any size and one adapted latent; {} without."""
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    model = next((m for m in factorised_models(codec).values() if isinstance(m, AdaptedBottleneck)), None)
    if model is None:
        return {}
    transforms = model.transforms
    device = next(transforms.parameters())
    given = {
        "analysis": device.new_zeros(1, transforms.channels, transforms.bins),
        "synthesis": device.new_zeros(1, transforms.side, transforms.bins // 8),
    }
    macs = {}
    for name, tensor in given.items():
        with FlopCounterMode(display=False) as counter:
            getattr(transforms, name)(tensor, 40)
        macs[name] = counter.get_total_flops() // 2
    return macs


def divergence(counts: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """KL divergence in bits, (C,), of an image's frequencies from tables, (C, E) each."""
    p = counts / counts.sum(1, keepdims=True)
    ratio = np.where(counts > 0, p, 1.0) / np.where(counts > 0, probabilities, 1.0)
    return (p * np.log2(ratio)).sum(1)


@torch.no_grad()
def signature(codec: LearnedCodec, x: Tensor, point: OperatingPoint, reach: int = 64) -> dict[str, Any]:
    """Distributions of the first latent's channels over the symbols -reach to reach - 1, of one image (1, 3, H, W).

    Probabilities (C, 2 reach): of the image's symbols as `own`, of the tables that all images have as `static`, and of
    those that it is coded with as `adapted`, None for codecs that send no tables; `first` is -reach.
    """
    with coded_latents(codec) as calls:
        codec.likelihoods(codec.analysis(codec.pad(x), point), point)
    call, adapted = calls[0], None
    events = events_of(call)
    if isinstance(call.model, AdaptedBottleneck):
        plan = call.model.plan(call.y, call.step)
        adapted = events.probabilities(plan.tables if plan.adapted else None)
    kinds = {"own": events.counts / events.latents, "static": events.probabilities(), "adapted": adapted}
    windows = {kind: None if p is None else _window(p, events.tables, reach) for kind, p in kinds.items()}
    return {"first": -reach, "latent": call.latent, **windows}


def _window(probabilities: np.ndarray, tables: CdfTables, reach: int) -> np.ndarray:
    entry = np.arange(-reach, reach) - tables.offsets[:, None]
    inside = (entry >= 0) & (entry < tables.lengths[:, None] - 2)
    return np.where(inside, np.take_along_axis(probabilities, np.where(inside, entry, 0), 1), 0.0)
