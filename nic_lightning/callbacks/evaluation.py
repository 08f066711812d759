"""Measure a codec on data sets and keep the rows in its run folder: after training, and by `nic-evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor, distributed, nn

from nic_lightning.analysis.efficiency import measure
from nic_lightning.codecs.base import ImageCodec, OperatingPoint
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.config import ConfigError, check_targets, compose
from nic_lightning.data.datasets import ImageFolder, evaluation_set
from nic_lightning.data.domains import resized
from nic_lightning.data.images import Pixels
from nic_lightning.data.transforms import to_tensor
from nic_lightning.errors import UserError, choices
from nic_lightning.metrics.channels import ChannelRates
from nic_lightning.metrics.distances import Distances
from nic_lightning.metrics.evaluation import evaluate_codec
from nic_lightning.metrics.extractors import load_extractor
from nic_lightning.metrics.lpips import load_lpips
from nic_lightning.metrics.names import RECONSTRUCTIONS
from nic_lightning.runs.channels import write_channel_rates
from nic_lightning.runs.distances import write_distances
from nic_lightning.runs.results import read_results, write_results

RESULTS = "results.parquet"
Row = dict[str, Any]
Report = Callable[[str, str, str, OperatingPoint], None]
"""Called after each file with codec, data set, image and operating point."""


@dataclass(frozen=True)
class Ranks:
    """The processes that share an evaluation: image i is measured by rank i modulo size."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> Ranks:
        """The ranks of the default process group; one rank where there is none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def together(self, channels: ChannelRates) -> ChannelRates:
        """The channel rates of all ranks."""
        if self.size == 1:
            return channels
        shares: list[Any] = [None] * self.size
        distributed.all_gather_object(shares, channels)
        return ChannelRates().merge(shares)

    def in_order(self, rows: list[Row], per_image: int) -> list[Row]:
        """The rows of all ranks, image by image, as one process would have made them; `per_image` rows each."""
        if self.size == 1:
            return rows
        shares: list[Any] = [None] * self.size
        distributed.all_gather_object(shares, (rows, per_image))
        each = max(count for _, count in shares)  # a rank without an image knows no count
        images = [[share[i : i + each] for i in range(0, len(share), each)] for share, _ in shares if share]
        return [row for turn in zip_longest(*images, fillvalue=[]) for image in turn for row in image]


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

    They replace rows of the same codec and data set in `folder`/results.parquet, which is written whole at the end; so
    do the bits of every latent channel in channel_rates.json, and distances.json, if `fid` names extractors.
    `points` are labels (None: all of the codec's); `save_images` reconstructions of the codec, not of baselines, are
    kept per data set; `limit` takes the first images only; `side` makes squares of so
    many pixels of all, and NAME_SIDEpx is then what their set is called. With `ranks` every process measures its share
    of the images, all get all rows, in the order of a single process, and rank 0 writes them. Raises what
    `evaluate_codec` and `evaluation_set` raise, and UserError for data sets and a codec that makes no files.
    """
    if datasets and isinstance(codec, LearnedCodec):
        codec.require_files()
    sets = _open(datasets, root, side)  # a missing one is found before hours of work
    ranks = ranks or Ranks()
    extractors = [load_extractor(wanted) for wanted in fid]
    work = _Work(limit, side, load_lpips(lpips_path), extractors, device, on_item, ranks)
    chosen = points_of(codec, points)
    kept = folder / RECONSTRUCTIONS if save_images else None
    for name, images in sets.items():
        work.measure(codec, name, images, points=chosen, save_images=kept, save_count=save_images)
        for baseline in baselines:
            work.measure(baseline, name, images)
    for row in work.rows:
        row.update(run=run, experiment=experiment)
    channels = ranks.together(work.channels)
    if ranks.rank == 0:
        _merge(folder / RESULTS, work.rows)
        write_channel_rates(folder, channels.entries())
        if work.distances:
            write_distances(folder, work.distances)
    return work.rows


@dataclass
class _Work:
    """What the codecs and data sets of one evaluation share, and what has been found of them so far."""

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
        )
        self.distances += distances.rows(codec.name, dataset)
        per_image = len(new) // max(len(sizes), 1)
        self.rows += self.ranks.in_order(_with_macs(new, codec, sizes), per_image)


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
        if isinstance(codec, LearnedCodec):
            raise UserError(f"The baseline '{name}' is a learned codec without weights; evaluate its run instead.")
        codecs.append(codec)
    return codecs


def points_of(codec: ImageCodec, labels: Sequence[str] | None) -> list[OperatingPoint] | None:
    """Operating points by their labels, None for None; UserError for a label that the codec does not have."""
    return None if labels is None else [_point(codec, label) for label in labels]


def _point(codec: ImageCodec, label: str) -> OperatingPoint:
    if isinstance(codec, LearnedCodec):
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
    if not isinstance(codec, LearnedCodec):
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
    write_results(path, [row for row in old if (row["codec"], row["dataset"]) not in new] + rows)
