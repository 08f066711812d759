"""Evaluation with real files: every input is written, read back and decoded at every operating point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.media.base import medium_of
from nic_lightning.metrics.channels import ChannelRates
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.measuring import Measuring, Memory, Place, Task
from nic_lightning.metrics.round_trip import EvaluationError, Refusal

if TYPE_CHECKING:
    from nic_lightning.metrics.distances import Distances

__all__ = ["Crew", "EvaluationError", "Memory", "Refusal", "evaluate_codec"]


class Crew(Protocol):
    """Other processes that measure inputs instead of this one."""

    def takes(self, work: Measuring, task: Task, seconds: float | None) -> bool:
        """Whether they take an input; `seconds` is how long the last one took in this process, where one did."""
        ...

    def give(self, work: Measuring, task: Task) -> list[tuple[Task, Measured]]:
        """Give an input to one that is free, and wait until one is; what was measured in the meantime."""
        ...

    def rest(self) -> Iterator[tuple[Task, Measured]]:
        """What is still being measured, as it is done."""
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
    crew: Crew | None = None,
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
        distances: gets every original and its reconstructions, of what this process measures itself.
        memory: finds what was measured of an input before, and keeps what is measured now.
        on_refusal: called with the name of an input that the codec refuses, and why.
        crew: processes that share the inputs; rows come in the same order without them.

    Raises:
        Refusal: the codec refuses every input.
        EvaluationError: the decoder's latents differ from the encoder's, the decoded size is wrong, or the
            payload is more than 2 % above the estimate.
    """
    chosen = list(codec.operating_points if points is None else points)
    medium = medium_of(codec)
    handler, labels = medium.handler(), [None, *(point.label for point in chosen)]
    place = Place(save_images, dataset, handler.ending, labels, handler.original_ending)
    work = Measuring(
        codec, medium, dataset, chosen, torch.device(device), place, measures or {}, macs or {}, distances, on_item
    ).ready()
    found: dict[int, tuple[Measured, list[dict[str, Any]]]] = {}
    for task, measured in _results(work, _tasks(work, inputs, save_count), memory, crew):
        found[task.number] = measured, measured.rows or work.gaps(task, measured.refused)
        if measured.refused is not None and on_refusal is not None:
            on_refusal(task.name, measured.refused)
    in_order = [found[number] for number in sorted(found)]
    refusals = [measured.refused for measured, _ in in_order if measured.refused is not None]
    if refusals and len(refusals) == len(in_order):
        raise Refusal(f"{codec.name} takes no {medium.name} of {dataset}: {refusals[0]}")
    for measured, _ in in_order if channels is not None else ():
        for label, latent, rates in measured.rates:
            channels.add(codec.name, dataset, label, latent, rates)  # pyright: ignore[reportOptionalMemberAccess]
    return [row for _, rows in in_order for row in rows]


def _tasks(work: Measuring, inputs: Iterable[Sequence[Any]], save_count: int) -> Iterator[Task]:
    for number, (name, content, *said) in enumerate(inputs):
        x = work.handler.batched(content)
        keep = number < save_count and work.place.folder is not None
        yield Task(number, name, x, said[0] if said else x, keep)


def _results(
    work: Measuring, tasks: Iterable[Task], memory: Memory | None, crew: Crew | None
) -> Iterator[tuple[Task, Measured]]:
    """Inputs and what was measured of them, as they are done: by the crew, where it takes them, else here."""

    def kept(task: Task, measured: Measured) -> tuple[Task, Measured]:
        if memory is not None:
            memory.keep(task.name, task.x, measured)
        return task, measured

    def of_crew(task: Task, measured: Measured) -> tuple[Task, Measured]:
        done = kept(task, measured)
        for point in work.points if work.on_item is not None and measured.rows else ():
            work.on_item(task.name, point)  # pyright: ignore[reportOptionalCall]
        return done

    seconds: float | None = None
    for task in tasks:
        before = work.remembered(task, memory)
        if before is not None:
            yield task, before
        elif crew is not None and crew.takes(work, task, seconds):
            yield from (of_crew(*done) for done in crew.give(work, task))
        else:
            warm, start = work.warm, time.perf_counter()
            yield kept(task, work.measured(task))
            seconds = time.perf_counter() - start if warm else None  # the first one loads kernels, too
    yield from (of_crew(*done) for done in (crew.rest() if crew is not None else ()))
