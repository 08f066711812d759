"""Measure a codec on data sets and keep the rows in its run folder: after training, and by `nic-evaluate`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nic_lightning import __version__
from nic_lightning.analysis.efficiency import measure
from nic_lightning.callbacks.ranks import Ranks
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import is_learned
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.data.datasets import ImageFolder, evaluation_set
from nic_lightning.data.domains import resized
from nic_lightning.data.images import Pixels
from nic_lightning.errors import UserError, choices
from nic_lightning.media.image.memory import to_tensor
from nic_lightning.metrics.channels import ChannelRates
from nic_lightning.metrics.distances import Distances
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.extractors import load_extractor
from nic_lightning.metrics.lpips import load_lpips
from nic_lightning.metrics.measured import Measured
from nic_lightning.metrics.names import RECONSTRUCTIONS
from nic_lightning.runs.record.channels import write_channel_rates
from nic_lightning.runs.record.distances import write_distances
from nic_lightning.runs.record.journal import Journal
from nic_lightning.runs.record.results import read_results, write_results

log = logging.getLogger(__name__)
RESULTS = "results.parquet"
Row = dict[str, Any]
Report = Callable[[str, str, str, OperatingPoint], None]
"""Called after each file with codec, data set, image and operating point."""


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
    lpips_path: str | None = None,
    fid: Sequence[str] = (),
    limit: int | None = None,
    side: int | None = None,
    device: str = "cpu",
    on_item: Report | None = None,
    ranks: Ranks | None = None,
) -> list[Row]:
    """Measure `codec`, and the classic `baselines` beside it, on each data set; the new rows of the results table.

    They replace rows of the same codec and data set in `folder`/results.parquet as soon as these are measured; at the
    end so do the bits of every latent channel in channel_rates.json, and distances.json, if `fid` names extractors.
    Every image is written down when it is measured, and an evaluation that was killed goes on after the last one
    (`runs/record/journal.py`), unless it measures FID. An image that a codec refuses is left out, and its rows say why
    (column "refused").
    `points` are labels (None: all of the codec's); `save_images` reconstructions of the codec, not of baselines, are
    kept per data set; `limit` takes the first images only; `side` makes squares of so
    many pixels of all, and NAME_SIDEpx is then what their set is called. With `ranks` every process measures its share
    of the images, all get all rows, in the order of a single process, and rank 0 writes them. Raises what
    `evaluate_codec` and `evaluation_set` raise, and UserError for data sets and a codec that makes no files.
    """
    if datasets and is_learned(codec):
        codec.require_files()
    sets = _open(datasets, root, side)  # a missing one is found before hours of work
    ranks = ranks or Ranks()
    extractors = [load_extractor(wanted) for wanted in fid]
    journal = Journal(folder, ranks.rank)
    if journal.found_before and ranks.rank == 0:
        log.info("Going on with an evaluation that was stopped; images measured before: %d.", journal.found_before)
    head = {"run": run, "experiment": experiment}
    work = _Work(folder, head, journal, limit, side, load_lpips(lpips_path), extractors, device, on_item, ranks)
    chosen = points_of(codec, points)
    kept = folder / RECONSTRUCTIONS if save_images else None
    for name, images in sets.items():
        work.measure(codec, name, images, points=chosen, save_images=kept, save_count=save_images)
        for baseline in baselines:
            work.measure(baseline, name, images)
    channels = ranks.together(work.channels)
    if ranks.rank == 0:
        if not sets:  # an empty table still says that this is a run
            _merge(folder / RESULTS, [])
        write_channel_rates(folder, channels.entries())
        if work.distances:
            write_distances(folder, work.distances)
        journal.done()
    return work.rows


@dataclass
class _Work:
    """What the codecs and data sets of one evaluation share, and what has been found of them so far."""

    folder: Path
    head: Row
    """Columns that all rows have in common."""
    journal: Journal
    limit: int | None
    side: int | None
    lpips: nn.Module | None
    extractors: Sequence[nn.Module]
    device: str
    on_item: Report | None
    ranks: Ranks
    rows: list[Row] = field(default_factory=list)
    distances: list[Row] = field(default_factory=list)
    channels: ChannelRates = field(default_factory=ChannelRates)

    def measure(
        self,
        codec: ImageCodec,
        dataset: str,
        images: ImageFolder,
        points: list[OperatingPoint] | None = None,
        save_images: Path | None = None,
        save_count: int = 0,
    ) -> None:
        """Add this rank's share of one codec on one data set; `save_count` images of all ranks are kept."""
        sizes: dict[str, tuple[int, int]] = {}
        taken = list(codec.operating_points) if points is None else points
        distances = Distances(taken, self.extractors, self.device)
        new = evaluate_codec(
            codec,
            _items(images, self.limit, self.side, sizes, self.ranks),
            dataset,
            points=taken,
            lpips=self.lpips,
            device=self.device,
            save_images=save_images,
            save_count=len(range(self.ranks.rank, save_count, self.ranks.size)),
            on_item=_reporter(self.on_item, codec.name, dataset),
            channels=self.channels,
            distances=distances,
            memory=None if self.extractors else _Memory(self.journal, self._origin(codec, dataset, taken)),
            on_refusal=lambda item, reason: log.warning(
                "%s takes no %s of %s and is measured without it: %s", codec.name, item, dataset, reason
            ),
        )
        self.distances += distances.rows(codec.name, dataset)
        of_image: dict[str, list[Row]] = {name: [] for name in sizes}
        for row in _with_macs(new, codec, sizes):
            of_image[row["item"]].append(self.head | row)
        rows = self.ranks.in_order(list(of_image.values()))
        self.rows += rows
        if self.ranks.rank == 0:
            _merge(self.folder / RESULTS, rows)

    def _origin(self, codec: ImageCodec, dataset: str, points: Sequence[OperatingPoint]) -> list[Any]:
        """What an image's rows follow from, beside the image."""
        plain = {n: v for n, v in vars(codec).items() if not (n.startswith("_") or callable(v))}
        settings = codec.fingerprint().hex() if is_learned(codec) else repr(sorted(plain.items()))
        labels = [point.label for point in points]
        return [__version__, codec.name, settings, dataset, labels, self.lpips is not None, self.side, self.device]


class _Memory:
    """A journal's images of one codec and data set."""

    def __init__(self, journal: Journal, origin: list[Any]) -> None:
        self.journal, self._origin = journal, json.dumps(origin).encode()

    def find(self, item: str, x: Tensor) -> Measured | None:
        """See `metrics.evaluation.Memory`."""
        return self.journal.find(self._key(item, x))

    def keep(self, item: str, x: Tensor, measured: Measured) -> None:
        """See `metrics.evaluation.Memory`."""
        self.journal.keep(self._key(item, x), measured)

    def _key(self, item: str, x: Tensor) -> str:
        digest = hashlib.sha256(self._origin)
        digest.update(json.dumps([item, *x.shape]).encode())
        digest.update(x.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()


def measurements(wanted: Any) -> dict[str, Any]:
    """Arguments of `evaluate_into_run` that training and evaluation read alike from their configs' `evaluation`."""
    return {
        "baselines": classic_codecs(list(wanted.baselines)),
        "save_images": wanted.save_images,
        "lpips_path": wanted.lpips,
        "fid": list(wanted.fid),
        "side": wanted.side,
        "limit": wanted.limit,
    }


def classic_codecs(names: Sequence[str]) -> list[ImageCodec]:
    """Codecs of conf/codec by name, such as "jpeg" and "webp", for use as baselines."""
    from hydra.utils import instantiate

    codecs = []
    for name in names:
        config = compose("evaluate", [f"codec={name}"])
        problems = check_targets(config)
        if problems:
            raise ConfigError(" ".join(problems))
        codec = instantiate(config.codec)
        if is_learned(codec):
            raise UserError(f"The baseline '{name}' is a learned codec without weights; evaluate its run instead.")
        codecs.append(codec)
    return codecs


def points_of(codec: ImageCodec, labels: Sequence[str] | None) -> list[OperatingPoint] | None:
    """Operating points by their labels, None for None; UserError for a label that the codec does not have."""
    return None if labels is None else [_point(codec, label) for label in labels]


def _point(codec: ImageCodec, label: str) -> OperatingPoint:
    if is_learned(codec):
        return codec.point(label)
    found = {point.label: point for point in codec.operating_points}
    if label not in found:
        raise UserError(f"{codec.name} has no operating point '{label}'; {choices(label, found)}.")
    return found[label]


def _items(
    images: ImageFolder, limit: int | None, side: int | None, sizes: dict[str, tuple[int, int]], ranks: Ranks
) -> Iterator[tuple[str, Tensor]]:
    for index in range(ranks.rank, len(images) if limit is None else min(limit, len(images)), ranks.size):
        name, image = images[index] if side is None else (images.names[index], _square(images.pixels(index), side))
        sizes[name] = (image.shape[-2], image.shape[-1])
        yield name, image


def _open(datasets: Sequence[str], root: str | None, side: int | None) -> dict[str, ImageFolder]:
    if side is not None and side < 1:
        raise UserError(f"evaluation.side is {side}; give a number of pixels, or null for images as they are.")
    return {name if side is None else f"{name}_{side}px": evaluation_set(name, root) for name in datasets}


def _square(pixels: Pixels, side: int) -> Tensor:
    return to_tensor(resized(pixels, side))


def _reporter(report: Report | None, codec: str, dataset: str) -> Callable[[str, OperatingPoint], None] | None:
    return None if report is None else lambda item, point: report(codec, dataset, item, point)


def _with_macs(rows: list[Row], codec: ImageCodec, sizes: dict[str, tuple[int, int]]) -> list[Row]:
    """Fill in the multiply-accumulates of analysis and synthesis, which follow from each image's size."""
    if not is_learned(codec):
        return rows
    costs: dict[tuple[int, int], dict[str, int]] = {}
    for row in rows:
        size = sizes[row["item"]]
        if size not in costs:
            costs[size] = {p.label: p.analysis.macs + p.synthesis.macs for p in measure(codec, size).points}
        row["macs"] = costs[size].get(row["label"])
    return rows


def _merge(path: Path, rows: list[Row]) -> None:
    new = {(row["codec"], row["dataset"]) for row in rows}
    old = read_results(path) if path.is_file() else []
    for codec, dataset in sorted(new):
        before, now = (
            {row["item"] for row in table if (row["codec"], row["dataset"]) == (codec, dataset)}
            for table in (old, rows)
        )
        if before - now:
            log.warning(
                "Results of %s on %s replace earlier ones; images now: %d, before: %d.",
                *(codec, dataset, len(now), len(before)),
            )
    write_results(path, [row for row in old if (row["codec"], row["dataset"]) not in new] + rows)
