"""Evaluation with real files: every input is written, read back and decoded at every operating point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.media.base import DEFAULT, Handler, Medium, medium_of
from nic_lightning.metrics.channels import ChannelRates, channel_rates
from nic_lightning.metrics.distances import Distances
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.names import reconstruction_path
from nic_lightning.metrics.rate import bits
from nic_lightning.metrics.round_trip import EvaluationError, Refusal, Trip, checked, reconstructs, round_trip

__all__ = ["EvaluationError", "Memory", "Refusal", "evaluate_codec"]


class Memory(Protocol):
    """What was measured of inputs (1, ...) before, for an evaluation that goes on where it was stopped."""

    def find(self, item: str, x: Tensor) -> Measured | None:
        """What was measured of the input at the points of this evaluation; None: nothing."""
        ...

    def keep(self, item: str, x: Tensor, measured: Measured) -> None:
        """The input was measured."""
        ...


@torch.no_grad()
def evaluate_codec(
    codec: ImageCodec,
    inputs: Iterable[Sequence[Any]],
    dataset: str,
    *,
    points: Sequence[OperatingPoint] | None = None,
    measures: Mapping[str, nn.Module] | None = None,
    device: str | torch.device = "cpu",
    save_images: Path | None = None,
    save_count: int = 2,
    macs: Mapping[str, int] | None = None,
    on_item: Callable[[str, OperatingPoint], None] | None = None,
    channels: ChannelRates | None = None,
    distances: Distances | None = None,
    memory: Memory | None = None,
    on_refusal: Callable[[str, str], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the results table, one for each input and point; "run" and "experiment" are the caller's.

    A learned codec is put into eval mode on `device`; its entropy tables are used as they are. Of an input that the
    codec refuses to encode at some point, the rows hold no measurements, and the reason in a column "refused".

    Args:
        codec: learned or classic codec.
        inputs: (name, input) pairs of the codec's medium, such as images (3, H, W) or (1, 3, H, W), float RGB in
            [0, 1]; with a third value what is decoded is compared with that.
        dataset: name of the data set, for the rows.
        points: operating points to measure; None: all of the codec's.
        measures: networks that compare, by the column of their values (`metrics/networks.py`).
        device: where a learned codec and the metrics run.
        save_images: folder for originals and results, `<run>/figures/reconstructions`; None saves none.
        save_count: how many inputs, from the first, are saved.
        macs: multiply-accumulate operations of one input, by point label, to be copied into the rows.
        on_item: called with the input's name and the point after each row.
        channels: gets the bits of each latent channel of a learned codec.
        distances: gets every original and its reconstructions.
        memory: finds what was measured of an input before, and keeps what is measured now.
        on_refusal: called with the name of an input that the codec refuses, and why.

    Raises:
        Refusal: the codec refuses every input.
        EvaluationError: the decoder's latents differ from the encoder's, the decoded size is wrong, or the
            payload is more than 2 % above the estimate.
    """
    device = torch.device(device)
    if isinstance(codec, nn.Module):
        codec.to(device).eval()
    for network in (measures or {}).values():
        network.to(device).eval()
    chosen = list(codec.operating_points if points is None else points)
    medium = medium_of(codec)
    place = _Place(save_images, dataset, medium.handler().ending, [None, *(point.label for point in chosen)])
    work = _Work(codec, medium, dataset, chosen, device, place, measures or {}, macs or {}, distances, on_item)
    rows: list[dict[str, Any]] = []
    refusals: list[str] = []
    number = -1
    for number, (name, content, *said) in enumerate(inputs):
        x = work.handler.batched(content).to(device)
        found = work.find_or_measure(name, x, said[0] if said else x, number < save_count, memory)
        if found.refused is not None:
            refusals.append(found.refused)
            if on_refusal is not None:
                on_refusal(name, found.refused)
        rows += found.rows or [work.gap(name, x, point, found.refused) for point in chosen]
        for label, latent, rates in found.rates if channels is not None else ():
            channels.add(codec.name, dataset, label, latent, rates)  # pyright: ignore[reportOptionalMemberAccess]
    if refusals and len(refusals) == number + 1:
        raise Refusal(f"{codec.name} takes no {medium.name} of {dataset}: {refusals[0]}")
    return rows


@dataclass(frozen=True)
class _Place:
    """Where originals and results of a data set are kept: nowhere without a folder."""

    folder: Path | None
    dataset: str
    ending: str
    labels: Sequence[str | None]
    """Points whose results are kept; None is the original."""

    def path(self, name: str, label: str | None) -> Path:
        assert self.folder is not None
        return reconstruction_path(self.folder, self.dataset, name, label, self.ending)

    def has_all(self, name: str) -> bool:
        return self.folder is None or all(self.path(name, label).is_file() for label in self.labels)


@dataclass
class _Work:
    """What is done with each input of a data set at all points."""

    codec: ImageCodec
    medium: Medium
    dataset: str
    points: Sequence[OperatingPoint]
    device: torch.device
    place: _Place
    measures: Mapping[str, nn.Module]
    macs: Mapping[str, int]
    distances: Distances | None
    on_item: Callable[[str, OperatingPoint], None] | None
    warm: bool = False
    """Whether a file was made before: the first one takes longer."""
    handler: Handler = field(init=False)

    def __post_init__(self) -> None:
        self.handler = self.medium.handler()

    def find_or_measure(self, name: str, x: Tensor, original: Any, keep: bool, memory: Memory | None) -> Measured:
        """What was measured before, unless a picture is missing that is to be kept; else what is measured now."""
        keep = keep and self.place.folder is not None
        found = memory.find(name, x) if memory is not None else None
        if found is not None and (not keep or found.refused is not None or self.place.has_all(name)):
            return found
        try:
            found = self.measure(name, x, original, keep)
        except Refusal as error:
            found = Measured(refused=str(error))
        if memory is not None:
            memory.keep(name, x, found)
        return found

    def measure(self, name: str, x: Tensor, original: Any, keep: bool) -> Measured:
        """One input (1, ...); with `keep`, original and results into their place. Raises Refusal."""
        codec, found, decoded = self.codec, Measured(), []
        if not self.warm and self.points:
            round_trip(codec, x, self.points[0], self.device)
            self.warm = True
        if keep:
            self.handler.write(x, self.place.path(name, None))
        for point in self.points:
            trip = round_trip(codec, x, point, self.device)
            likelihoods = checked(codec, x, point, trip, name)
            if likelihoods:
                rates = channel_rates(likelihoods, self.handler.units(x))
                found.rates.extend((point.label, latent, values) for latent, values in rates.items())
            found.rows.append(self._row(name, x, original, point, trip, likelihoods))
            if self.distances is not None and reconstructs(codec, point):
                decoded.append((point, trip.x_hat, found.rows[-1][self.medium.rate.key]))
            if keep:
                self.handler.write(trip.x_hat, self.place.path(name, point.label))
            if self.on_item is not None:
                self.on_item(name, point)
        for point, x_hat, rate in decoded:  # of an input that is not refused at a later point
            self.distances.add(point, x, x_hat, rate)  # pyright: ignore[reportOptionalMemberAccess]
        return found

    def _row(
        self,
        name: str,
        x: Tensor,
        original: Any,
        point: OperatingPoint,
        trip: Trip,
        likelihoods: Mapping[str, Tensor] | None,
    ) -> dict[str, Any]:
        estimate = float(bits(likelihoods).sum()) if likelihoods else None
        compared = reconstructs(self.codec, point)
        return (
            self._head(name, point)
            | self._rates(x, trip, estimate)
            | (self.handler.compare(original, trip.x_hat, self.measures) if compared else {})
            | {"parameters": _parameters(self.codec), "macs": self.macs.get(point.label)}
        )

    def _head(self, name: str, point: OperatingPoint) -> dict[str, Any]:
        """Which input at which point; the table of images, which has always been theirs, does not say so."""
        medium = {} if self.medium.name == DEFAULT else {"medium": self.medium.name}
        return {"codec": self.codec.name, "dataset": self.dataset, "item": name, **medium, **asdict(point)}

    def _rates(self, x: Tensor, trip: Trip, estimate: float | None) -> dict[str, Any]:
        """What the results table says of one input's file: rates, times, memory."""
        units, rate = self.handler.units(x), self.medium.rate
        return {
            self.medium.units: units,
            "bytes": len(trip.data),
            rate.key: 8 * len(trip.data) / units,
            rate.estimated: None if estimate is None else estimate / units,
            "encode_ms": trip.encode_ms,
            "decode_ms": trip.decode_ms,
            "peak_memory_mib": trip.peak_memory_mib,
        }

    def gap(self, name: str, x: Tensor, point: OperatingPoint, reason: str | None) -> dict[str, Any]:
        """The row of an input that the codec refuses."""
        return self._head(name, point) | {self.medium.units: self.handler.units(x), "refused": reason}


def _parameters(codec: ImageCodec) -> int | None:
    """Parameters without the entropy models, which by convention are submodules named `entropy_...`."""
    if not isinstance(codec, nn.Module):
        return None
    named = codec.named_parameters()
    return sum(p.numel() for name, p in named if not name.startswith("entropy_"))
