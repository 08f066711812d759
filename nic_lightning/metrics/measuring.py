"""One input of an evaluation at every operating point: files, rates, qualities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import in_entropy_model
from nic_lightning.media.base import DEFAULT, Medium
from nic_lightning.media.handling import Handler
from nic_lightning.metrics.channels import channel_rates
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.names import reconstruction_path
from nic_lightning.metrics.rate import bits
from nic_lightning.metrics.round_trip import Refusal, Trip, checked, real_bits, reconstructs, round_trip

if TYPE_CHECKING:
    from nic_lightning.metrics.distances import Distances


class Memory(Protocol):
    """What was measured of inputs (1, ...) before, for an evaluation that goes on where it was stopped."""

    def find(self, item: str, x: Tensor) -> Measured | None:
        """What was measured of the input at the points of this evaluation; None: nothing."""
        ...

    def keep(self, item: str, x: Tensor, measured: Measured) -> None:
        """The input was measured."""
        ...


@dataclass(frozen=True)
class Task:
    """One input of a data set."""

    number: int
    """Its place among the inputs of an evaluation."""
    name: str
    x: Tensor
    """As codecs take it, (1, ...)."""
    original: Any
    """What results are compared with."""
    keep: bool
    """Whether original and results are kept as files."""


@dataclass(frozen=True)
class Place:
    """Where originals and results of a data set are kept: nowhere without a folder."""

    folder: Path | None
    dataset: str
    ending: str
    labels: Sequence[str | None]
    """Points whose results are kept; None is the original."""
    original_ending: str | None = None
    """That of originals, where it is another one than that of results."""

    def path(self, name: str, label: str | None) -> Path:
        """File of an input's result, or of the original."""
        assert self.folder is not None
        ending = self.ending if label is not None else self.original_ending or self.ending
        return reconstruction_path(self.folder, self.dataset, name, label, ending)

    def has_all(self, name: str) -> bool:
        """Whether nothing of an input is missing."""
        return self.folder is None or all(self.path(name, label).is_file() for label in self.labels)


@dataclass
class Measuring:
    """What is done with each input of a data set at all points."""

    codec: ImageCodec
    medium: Medium
    dataset: str
    points: Sequence[OperatingPoint]
    device: torch.device
    place: Place
    measures: Mapping[str, nn.Module]
    macs: Mapping[str, int]
    distances: Distances | None = None
    on_item: Callable[[str, OperatingPoint], None] | None = None
    warm: bool = False
    """Whether a file was made before: the first one takes longer."""
    handler: Handler = field(init=False)

    def __post_init__(self) -> None:
        self.handler = self.medium.handler()

    def elsewhere(self) -> Measuring:
        """The same for another process, which tells nobody what it does."""
        return replace(self, distances=None, on_item=None, warm=False)

    def ready(self) -> Measuring:
        """Itself, its networks in eval mode on the device."""
        for network in (self.codec, *self.measures.values()):
            if isinstance(network, nn.Module):
                network.to(self.device).eval()
        return self

    def remembered(self, task: Task, memory: Memory | None) -> Measured | None:
        """What was measured before, unless a picture is missing that is to be kept."""
        found = memory.find(task.name, task.x) if memory is not None else None
        if found is not None and (not task.keep or found.refused is not None or self.place.has_all(task.name)):
            return found
        return None

    @torch.no_grad()
    def measured(self, task: Task) -> Measured:
        """Rows of one input, or why the codec refuses it."""
        try:
            return self._rows(task)
        except Refusal as error:
            return Measured(refused=str(error))

    def _rows(self, task: Task) -> Measured:
        codec, name, x, found, decoded = self.codec, task.name, task.x.to(self.device), Measured(), []
        original = x if task.original is task.x else task.original
        if not self.warm and self.points:
            round_trip(codec, x, self.points[0], self.device)
            self.warm = True
        if task.keep:
            self.handler.write(x, self.place.path(name, None))
        before = _allocated(self.device)
        compared = any(reconstructs(codec, point) for point in self.points)
        compare = self.handler.comparison(original, self.measures) if compared else None
        held = _allocated(self.device) - before
        for point in self.points:
            trip = round_trip(codec, x, point, self.device, held)
            likelihoods = checked(codec, x, point, trip, name)
            if likelihoods:
                rates = channel_rates(likelihoods, self.handler.divisor(x))
                found.rates.extend((point.label, latent, values) for latent, values in rates.items())
            qualities = compare(trip.x_hat) if compare is not None and reconstructs(codec, point) else {}
            found.rows.append(self._row(name, x, point, trip, likelihoods, qualities))
            if self.distances is not None and reconstructs(codec, point):
                decoded.append((point, trip.x_hat, found.rows[-1][self.medium.rate.key]))
            if task.keep:
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
        point: OperatingPoint,
        trip: Trip,
        likelihoods: Mapping[str, Tensor] | None,
        qualities: Mapping[str, float | None],
    ) -> dict[str, Any]:
        estimate = float(bits(likelihoods).sum()) if likelihoods else None
        return (
            self._head(name, point)
            | self._rates(x, trip, estimate)
            | dict(qualities)
            | {"parameters": _parameters(self.codec), "macs": self.macs.get(point.label)}
        )

    def _head(self, name: str, point: OperatingPoint) -> dict[str, Any]:
        """Which input at which point; the table of images, which has always been theirs, does not say so."""
        medium = {} if self.medium.name == DEFAULT else {"medium": self.medium.name}
        return {"codec": self.codec.name, "dataset": self.dataset, "item": name, **medium, **asdict(point)}

    def _rates(self, x: Tensor, trip: Trip, estimate: float | None) -> dict[str, Any]:
        """What the results table says of one input's file: rates, times, memory."""
        rate, divisor = self.medium.rate, self.handler.divisor(x)
        return {
            self.medium.units: self.handler.units(x),
            "bytes": len(trip.data),
            rate.key: real_bits(self.codec, trip) / divisor,
            rate.estimated: None if estimate is None else estimate / divisor,
            "encode_ms": trip.encode_ms,
            "decode_ms": trip.decode_ms,
            "peak_memory_mib": trip.peak_memory_mib,
        }

    def gaps(self, task: Task, reason: str | None) -> list[dict[str, Any]]:
        """The rows of an input that the codec refuses."""
        measured_not = {self.medium.units: self.handler.units(task.x), "refused": reason}
        return [self._head(task.name, point) | measured_not for point in self.points]


def _allocated(device: torch.device) -> int:
    """Bytes in use on a GPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _parameters(codec: ImageCodec) -> int | None:
    """Parameters without the entropy models, which by convention are submodules named `entropy_...`."""
    if not isinstance(codec, nn.Module):
        return None
    named = codec.named_parameters()
    return sum(p.numel() for name, p in named if not in_entropy_model(name))
