"""Measure a codec on data sets and keep the rows in its run folder: after training, and by `nic-evaluate`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from nic_lightning import __version__
from nic_lightning.analysis.efficiency import measure
from nic_lightning.callbacks.chosen import classic_codecs, points_of
from nic_lightning.callbacks.crew import Crew
from nic_lightning.callbacks.ranks import Ranks
from nic_lightning.callbacks.results_table import Row, replace_rows
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import is_learned
from nic_lightning.data.evaluation_sets import EvaluationSet, open_sets
from nic_lightning.errors import UserError
from nic_lightning.media.base import Medium, medium_of
from nic_lightning.media.handling import Handler
from nic_lightning.metrics.channels import ChannelRates
from nic_lightning.metrics.distances import Distances
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.extractors import load_extractor
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.names import RECONSTRUCTIONS
from nic_lightning.metrics.networks import networks_of
from nic_lightning.runs.record.channels import write_channel_rates
from nic_lightning.runs.record.distances import write_distances
from nic_lightning.runs.record.journal import Journal

log = logging.getLogger(__name__)
Report = Callable[[str, str, str, OperatingPoint], None]
"""Called after each file with codec, data set, item and operating point."""
Extent = tuple[int, int] | None


def evaluate_into_run(
    codec: ImageCodec,
    folder: Path,
    *,
    run: str,
    experiment: str,
    datasets: Sequence[str],
    root: str | None = None,
    baselines: Sequence[ImageCodec] = (),
    points: Sequence[str] | None = None,
    save_images: int = 2,
    lpips: bool | str | None = False,
    fid: Sequence[str] = (),
    limit: int | None = None,
    side: int | None = None,
    device: str = "cpu",
    on_item: Report | None = None,
    ranks: Ranks | None = None,
    workers: int | None = None,
) -> list[Row]:
    """Measure `codec`, and the classic `baselines` beside it, on each data set; the new rows of the results table.

    They replace rows of the same codec and data set in `folder`/results.parquet as soon as these are measured; at the
    end so do the bits of every latent channel in channel_rates.json, and distances.json, if `fid` names extractors.
    Every item is written down when it is measured, and an evaluation that was killed goes on after the last one
    (`runs/record/journal.py`), unless it measures FID. An item that a codec refuses is left out, and its rows say why
    (column "refused").
    `points` are labels (None: all of the codec's); `save_images` reconstructions of the codec, not of baselines, are
    kept per data set; `limit` takes the first items only; `side` makes squares of so many pixels of all images
    (`data.evaluation_sets`); `workers` is how many processes of one thread share the items (None: `callbacks/crew.py`
    chooses); `lpips` is true, or a file of weights, where LPIPS is measured, too. With `ranks` every process measures
    its share of the items, all get all rows, in the order of a single process, and rank 0 writes them. Raises what
    `evaluate_codec` and `open_sets` raise, and UserError for data sets and a codec that makes no files.
    """
    if datasets and is_learned(codec):
        codec.require_files()
    medium = medium_of(codec)
    _require_one_medium(medium, baselines, fid)
    for baseline in baselines:
        if hasattr(baseline, "accompany"):
            cast(Any, baseline).accompany(codec)
    sets = open_sets(datasets, medium, root, side)  # a missing one is found before hours of work
    ranks = ranks or Ranks()
    extractors = [load_extractor(wanted) for wanted in fid]
    journal = Journal(folder, ranks.rank)
    if journal.found_before and ranks.rank == 0:
        log.info(
            "Going on with an evaluation that was stopped; %s measured before: %d.", medium.items, journal.found_before
        )
    head = {"run": run, "experiment": experiment}
    networks = networks_of(medium, {"lpips": lpips})
    chosen = points_of(codec, points)
    kept = folder / RECONSTRUCTIONS if save_images else None
    most = max((_count(inputs, limit) for inputs in sets.values()), default=0)
    with Crew(_workers(workers, device, ranks, fid), most) as crew:
        work = _Work(folder, head, journal, medium, limit, side, networks, extractors, device, on_item, ranks, crew)
        for name, inputs in sets.items():
            work.measure(codec, name, inputs, points=chosen, save_images=kept, save_count=save_images)
            for baseline in baselines:
                work.measure(baseline, name, inputs)
    channels = ranks.together(work.channels)
    if ranks.rank == 0:
        if not sets:  # an empty table still says that this is a run
            replace_rows(folder, [])
        write_channel_rates(folder, channels.entries())
        if work.distances:
            write_distances(folder, work.distances)
        journal.done()
    return work.rows


def _require_one_medium(medium: Medium, baselines: Sequence[ImageCodec], fid: Sequence[str]) -> None:
    """Raise UserError for baselines of another medium, and for distances of what is no picture."""
    for baseline in baselines:
        if medium_of(baseline) != medium:
            raise UserError(
                f"The baseline {baseline.name} is for {medium_of(baseline).items}, not for {medium.items}: leave it "
                "out of evaluation.baselines."
            )
    if fid and not medium.pictures:
        raise UserError(f"Fréchet distances are of pictures, not of {medium.items}: leave evaluation.fid out.")


def _workers(wanted: int | None, device: str, ranks: Ranks, fid: Sequence[str]) -> int | None:
    """The number of processes; None where the machine is to be looked at."""
    alone = "evaluation.fid adds up over images in one process" if fid else "the ranks share the images"
    if not fid and ranks.size == 1:
        return 1 if wanted is None and device != "cpu" else wanted
    if wanted is not None and wanted > 1 and ranks.rank == 0:
        log.warning("evaluation.workers=%d is left out: %s.", wanted, alone)
    return 1


@dataclass
class _Work:
    """What the codecs and data sets of one evaluation share, and what has been found of them so far."""

    folder: Path
    head: Row
    """Columns that all rows have in common."""
    journal: Journal
    medium: Medium
    limit: int | None
    side: int | None
    networks: Mapping[str, nn.Module]
    extractors: Sequence[nn.Module]
    device: str
    on_item: Report | None
    ranks: Ranks
    crew: Crew
    rows: list[Row] = field(default_factory=list)
    distances: list[Row] = field(default_factory=list)
    channels: ChannelRates = field(default_factory=ChannelRates)

    def measure(
        self,
        codec: ImageCodec,
        dataset: str,
        inputs: EvaluationSet,
        points: list[OperatingPoint] | None = None,
        save_images: Path | None = None,
        save_count: int = 0,
    ) -> None:
        """Add this rank's share of one codec on one data set; `save_count` items of all ranks are kept."""
        extents: dict[str, Extent] = {}
        taken = list(codec.operating_points) if points is None else points
        distances = Distances(taken, self.extractors, self.device)
        self.crew.expect(_count(inputs, self.limit))
        new = evaluate_codec(
            codec,
            _items(inputs, self.limit, extents, self.ranks, self.medium.handler()),
            dataset,
            points=taken,
            measures=self.networks,
            device=self.device,
            save_images=save_images,
            save_count=len(range(self.ranks.rank, save_count, self.ranks.size)),
            on_item=_reporter(self.on_item, codec.name, dataset),
            channels=self.channels,
            distances=distances if self.extractors else None,
            crew=self.crew,
            memory=None if self.extractors else _Memory(self.journal, self._origin(codec, dataset, taken)),
            on_refusal=lambda item, reason: log.warning(
                "%s takes no %s of %s and is measured without it: %s", codec.name, item, dataset, reason
            ),
        )
        self.distances += distances.rows(codec.name, dataset)
        of_item: dict[str, list[Row]] = {name: [] for name in extents}
        for row in _with_macs(new, codec, extents):
            of_item[row["item"]].append(self.head | row)
        rows = self.ranks.in_order(list(of_item.values()))
        self.rows += rows
        if self.ranks.rank == 0:
            replace_rows(self.folder, rows, self.medium.items)

    def _origin(self, codec: ImageCodec, dataset: str, points: Sequence[OperatingPoint]) -> list[Any]:
        """What an item's rows follow from, beside the item."""
        plain = {n: v for n, v in vars(codec).items() if not (n.startswith("_") or callable(v))}
        settings = codec.fingerprint().hex() if is_learned(codec) else repr(sorted(plain.items()))
        labels = [point.label for point in points]
        return [__version__, codec.name, settings, dataset, labels, bool(self.networks), self.side, self.device]


class _Memory:
    """A journal's items of one codec and data set."""

    def __init__(self, journal: Journal, origin: list[Any]) -> None:
        self.journal, self._origin = journal, json.dumps(origin).encode()
        self._last: tuple[str, Tensor, str] | None = None
        """An item, its content and its key: what is kept was looked for just before."""

    def find(self, item: str, x: Tensor) -> Measured | None:
        """See `metrics.evaluation.Memory`."""
        return self.journal.find(self._key(item, x))

    def keep(self, item: str, x: Tensor, measured: Measured) -> None:
        """See `metrics.evaluation.Memory`."""
        self.journal.keep(self._key(item, x), measured)

    def _key(self, item: str, x: Tensor) -> str:
        if self._last is None or self._last[0] != item or self._last[1] is not x:
            digest = hashlib.sha256(self._origin)
            digest.update(json.dumps([item, *x.shape]).encode())
            digest.update(x.detach().cpu().contiguous().numpy().data)
            self._last = item, x, digest.hexdigest()
        return self._last[2]


def measurements(wanted: Any) -> dict[str, Any]:
    """Arguments of `evaluate_into_run` that training and evaluation read alike from their configs' `evaluation`."""
    return {
        "baselines": classic_codecs(list(wanted.baselines)),
        "save_images": wanted.save_images,
        "lpips": wanted.lpips,
        "fid": list(wanted.fid),
        "side": wanted.side,
        "workers": wanted.get("workers"),  # not in configs of runs before there were any
        "limit": wanted.limit,
    }


def _count(inputs: EvaluationSet, limit: int | None) -> int:
    return len(inputs) if limit is None else min(limit, len(inputs))


def _items(
    inputs: EvaluationSet, limit: int | None, extents: dict[str, Extent], ranks: Ranks, handler: Handler
) -> Iterator[Sequence[Any]]:
    for index in range(ranks.rank, _count(inputs, limit), ranks.size):
        item = inputs[index]
        extents[item[0]] = handler.extent(item[1])
        yield item


def _reporter(report: Report | None, codec: str, dataset: str) -> Callable[[str, OperatingPoint], None] | None:
    return None if report is None else lambda item, point: report(codec, dataset, item, point)


def _with_macs(rows: list[Row], codec: ImageCodec, extents: Mapping[str, Extent]) -> list[Row]:
    """Fill in the multiply-accumulates of analysis and synthesis, which follow from each item's extent."""
    if not is_learned(codec):
        return rows
    costs: dict[tuple[int, int], dict[str, int]] = {}
    for row in rows:
        size = extents[row["item"]]
        if size is None:
            continue
        if size not in costs:
            costs[size] = {p.label: p.analysis.macs + p.synthesis.macs for p in measure(codec, size).points}
        row["macs"] = costs[size].get(row["label"])
    return rows
