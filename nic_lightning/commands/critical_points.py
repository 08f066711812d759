"""`nic critical_points`: the points of clouds that a codec looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nic_lightning.commands.file_by_file import require_free
from nic_lightning.commands.options import Count, Overwrite
from nic_lightning.errors import UserError, counted
from nic_lightning.runs.index.labels import require_source
from nic_lightning.runs.record.critical_points import COLUMNS, FIGURE, FOLDER, SETS, SHOWN, TABLE, write_shown

if TYPE_CHECKING:
    from nic_lightning.codecs.point_cloud import PointCloudCodec
    from nic_lightning.data.cloud_sets import LabelledClouds

DRAWN = 4
"""Clouds that are shown, of different classes."""


def critical_points(
    run: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    clouds: Annotated[str, Parameter(metavar="SET")] = "furniture",
    limit: Annotated[Count | None, Parameter(metavar="N")] = None,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"), metavar="DIR")] = None,
    no_wandb: Annotated[bool, Parameter(name="--no-wandb")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Find the points of clouds that a codec's string depends on.

    Critical are the points that have the largest value of some channel (Qi et al., CVPR 2017): the others can be left
    out. The minimal ones are those of them that cannot be left out without another string. Writes clouds.csv, a line
    for each cloud, and four clouds of different classes as a figure and for `nic report`.

    Args:
        run: run folder, checkpoint or export of codec=point_cloud
        clouds: data set, perhaps with its split (furniture/train), or its folder
        limit: only the first clouds
        out: folder to write into (default: RUN/critical_points)
        no_wandb: leave the run's W&B record as it is (default: a run that has one gets table and figure there, too)
        overwrite: replace files that exist

    Examples:
        nic critical_points runs/point_cloud_micro_small
        nic critical_points runs/lite --clouds modelnet40 --limit 100 -o critical

    Raises:
        UserError: the run is of another codec.
        DataError: the clouds are missing.
    """
    require_source(run)
    if out is None and not run.is_dir():
        raise UserError(f"{run} is no run folder: say by --out where the table goes.")
    folder = run / FOLDER if out is None else out
    for name in (TABLE, SHOWN, FIGURE):
        require_free(folder / name, overwrite)

    from nic_lightning.analysis.critical_points import point_cloud_codec
    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.data.cloud_sets import LabelledClouds, locate_clouds

    codec = point_cloud_codec(load_codec(run))
    rows, shown = _measured(codec, LabelledClouds(locate_clouds(clouds)), limit)
    _write(folder, rows, shown)
    print(_summary(rows))
    print(folder)
    if out is None and not no_wandb:
        _log(run, folder, rows)


def _measured(
    codec: PointCloudCodec, clouds: LabelledClouds, limit: int | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the table, and clouds to show, the first ones of their classes."""
    import torch

    from nic_lightning.analysis.critical_points import study

    rows: list[dict[str, Any]] = []
    shown: dict[int, dict[str, Any]] = {}
    names = codec.classes or clouds.classes
    for index in range(len(clouds) if limit is None else min(limit, len(clouds))):
        item, points, label = clouds[index]
        found = study(codec, torch.from_numpy(points).to(codec.entropy_y.medians))
        if not found.same:  # it would be our fault
            raise RuntimeError(f"{item}: the critical points alone give another string.")
        known = {"true": _name(clouds.classes, label), "decided": _name(names, found.decided), "bits": found.bits}
        sets = {"points": found.seen, "critical": found.critical, "minimal": found.minimal}
        counts = {name: len(points) for name, points in sets.items()}
        rows.append({"dataset": clouds.name, "item": item, **known, **counts})
        if label not in shown and len(shown) < DRAWN:
            sets["reconstruction"] = torch.empty(0, 3) if found.reconstruction is None else found.reconstruction
            listed = {name: [[round(v, 4) for v in p] for p in sets[name].tolist()] for name in SETS}
            shown[label] = {"item": item, **known, **listed}
    return rows, list(shown.values())


def _name(classes: Sequence[str], number: int) -> str:
    return classes[number] if number < len(classes) else f"class {number}"


def _write(folder: Path, rows: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> None:
    from nic_lightning.report.curves.critical_points import cloud_figure
    from nic_lightning.report.experiments.gathering import write_csv

    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / TABLE, list(COLUMNS), rows)
    write_shown(folder, shown)
    cloud_figure(shown, folder / FIGURE)


def _summary(rows: Sequence[Mapping[str, Any]]) -> str:
    means = {key: fmean(row[key] for row in rows) for key in ("points", "critical", "minimal", "bits")}
    return (
        f"{counted(len(rows), 'cloud')} of {rows[0]['dataset']}: of {means['points']:.1f} points a cloud "
        f"{means['critical']:.1f} are critical, {means['minimal']:.1f} make its {means['bits']:.1f} bits"
    )


def _log(run: Path, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from nic_lightning.runs.loggers.reopened import add_to_wandb

    if add_to_wandb(run, {FOLDER: list(rows)}, {FOLDER: folder / FIGURE}):
        print(f"The table and the figure are in the run's W&B record, too: {run / 'wandb'}")
