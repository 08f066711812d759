"""`nic amortisation`: what static tables cost each image, and what adapted ones win back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from nic_lightning.commands.file_by_file import require_free
from nic_lightning.commands.options import Count, Overwrite
from nic_lightning.data.catalog import locate
from nic_lightning.errors import UserError
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.index.labels import require_labels, require_source

if TYPE_CHECKING:
    from torch import Tensor

    from nic_lightning.analysis.amortisation import ImageGap
    from nic_lightning.codecs.base import OperatingPoint
    from nic_lightning.codecs.learned import LearnedCodec
    from nic_lightning.data.datasets import ImageFolder

FOLDER = "amortisation"
TABLES = ("points.csv", "images.csv", "channels.parquet")
FIGURES = ("gains.png", "channels.png", "signature.png")
FAR = 4
"""Times as many pixels, or as few, as tables were trained for, from which on it is said."""
SHOWN = 3
"""Images of the signature."""


def amortisation(
    run: Annotated[Path, Parameter(name="RUN")],
    /,
    *,
    images: Annotated[str, Parameter(metavar="SET")] = "kodak",
    point: Annotated[tuple[str, ...], Parameter(metavar="LABEL")] = (),
    limit: Annotated[Count | None, Parameter(metavar="N")] = None,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"), metavar="DIR")] = None,
    no_figures: Annotated[bool, Parameter(name="--no-figures")] = False,
    no_wandb: Annotated[bool, Parameter(name="--no-wandb")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure the amortisation gap of a codec's factorised entropy models, and what closes it.

    Rates of the same latents, side information included: with static tables; with tables that are adapted and sent
    (codec=encoding_distribution); with Gaussians fitted to each image; with a coder that counts as it goes; and by the
    entropy of the image's symbols, the ideal. Writes points.csv, images.csv and channels.parquet, and figures.

    Args:
        run: run folder, checkpoint or export
        images: data set, or a folder of images
        point: label of an operating point, may be repeated (default: all)
        limit: only the first images
        out: folder to write into (default: RUN/amortisation)
        no_figures: tables alone; nothing is drawn
        no_wandb: leave the run's W&B record as it is (default: a run that has one gets tables and figures there, too)
        overwrite: replace files that exist

    Examples:
        nic amortisation runs/adapted --images kodak
        nic amortisation runs/cae --images photos --limit 8 -o gap

    Raises:
        UserError: the codec has no factorised entropy model, or no such operating point.
        DataError: the images are missing.
    """
    require_source(run)
    require_labels(run, list(point) or None)
    locate(images)
    if out is None and not run.is_dir():
        raise UserError(f"{run} is no run folder: say by --out where the tables go.")
    folder = run / FOLDER if out is None else out
    for name in (*TABLES, *(() if no_figures else FIGURES)):
        require_free(folder / name, overwrite)

    from nic_lightning.codecs.loading import load_codec
    from nic_lightning.data.datasets import ImageFolder

    codec = load_codec(run)
    sources = ImageFolder(images, limit=limit)
    points = [codec.point(label) for label in point] or list(codec.operating_points)
    measured = _Measurement(codec, sources, points)
    if line := _size_line(run, measured.sizes):
        print(line)
    measured.write(folder, figures=not no_figures)
    if out is None and not no_wandb:
        measured.log(run)


class _Measurement:
    """All images at all points: prints a line for each point as soon as it is known, and keeps the rows."""

    def __init__(self, codec: LearnedCodec, images: ImageFolder, points: Sequence[OperatingPoint]):
        from nic_lightning.analysis.amortisation import channel_rows, image_gap, image_rows, point_row, tables_macs

        self.codec, self.images, self.middle = codec, images, points[len(points) // 2]
        self.points: list[dict[str, Any]] = []
        self.by_image: list[dict[str, Any]] = []
        self.by_channel: list[dict[str, Any]] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        """Height and width of each image."""
        print(_heading(), flush=True)
        for one in points:
            gaps: list[ImageGap] = []
            for name, image in images:
                self.sizes[name] = (image.shape[-2], image.shape[-1])
                gaps.append(image_gap(codec, image[None], one))
                self.by_image += image_rows(name, gaps[-1])
                self.by_channel += channel_rows(name, gaps[-1])
            self.points.append({"dataset": images.name, **point_row(gaps)})
            print(_line(self.points[-1]), flush=True)
        for text in (*_bd_lines(self.points), *_cost_lines(tables_macs(codec))):
            print(text)

    def write(self, folder: Path, figures: bool) -> None:
        """Tables, and figures at the middle one of the points."""
        from nic_lightning.report.experiments.gathering import write_csv

        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in zip(TABLES, (self.points, self.by_image), strict=False):
            write_csv(folder / name, list(rows[0]), rows)
        _write_parquet(folder / TABLES[2], self.by_channel)
        if figures:
            self._draw(folder)
        print(folder)

    def log(self, run: Path) -> None:
        """Tables of points and images, and figures, into the run's W&B record, where it has one."""
        from nic_lightning.runs.loggers.reopened import add_to_wandb

        drawn = {Path(name).stem: run / FOLDER / name for name in FIGURES if (run / FOLDER / name).is_file()}
        figures = {f"{FOLDER}_{name}": path for name, path in drawn.items()}
        tables = {f"{FOLDER}_points": self.points, f"{FOLDER}_images": self.by_image}
        if add_to_wandb(run, tables, figures):
            print(f"The tables and figures are in the run's W&B record, too: {run / 'wandb'}")

    def _draw(self, folder: Path) -> None:
        from nic_lightning.analysis.amortisation import signature
        from nic_lightning.report.curves.amortisation import channel_figure, gain_figure, signature_figure

        gain_figure(self.points, folder / FIGURES[0])
        here = [row for row in self.by_channel if row["label"] == self.middle.label]
        channel_figure([row for row in here if row["latent"] == here[0]["latent"]], folder / FIGURES[1])
        shown = [self.images[i] for i in range(min(SHOWN, len(self.images)))]
        made = [
            {"item": name, "image": _picture(x), **signature(self.codec, x[None], self.middle)} for name, x in shown
        ]
        signature_figure(made, folder / FIGURES[2])


def _size_line(run: Path, sizes: Mapping[str, tuple[int, int]]) -> str | None:
    """A sentence on images of sizes that a run was not trained for; None where there is none, or nobody says."""
    task = (read_run(run).config or {}).get("task") if run.is_dir() else None
    target = task.get("target") if isinstance(task, Mapping) else None
    if not (isinstance(target, list) and len(target) == 2 and all(isinstance(side, int) for side in target)):
        return None
    pixels = target[0] * target[1]
    far = [name for name, (h, w) in sizes.items() if not pixels / FAR <= h * w <= pixels * FAR]
    if not far:
        return None
    height, width = sizes[far[0]]
    return (
        f"Its tables were trained for images of {target[0]}x{target[1]} (task.target): {far[0]}, {height}x{width}, and "
        f"others of such sizes may keep the static ones; task.target=null trains for all ({len(far)} of {len(sizes)})."
    )


def _picture(x: Tensor) -> Any:
    return x.permute(1, 2, 0).numpy()


def _heading() -> str:
    columns = ("point", "PSNR", "static", "adapted", "Gaussian", "backward", "ideal", "gap", "adapted", "Gaussian")
    title = f"  {'':>12}{'':>9}{'bits per pixel':^45}{'':>9}{'part of the gap closed':^27}{'side':>9}"
    return f"{title}\n  {columns[0]:>12}" + "".join(f"{name:>9}" for name in (*columns[1:], "backward", "info"))


def _line(row: Mapping[str, Any]) -> str:
    rates = (_cell(row[way], 5) for way in ("static", "adapted", "gaussian", "backward", "ideal"))
    parts = (
        _cell(row[key], 1, " %") for key in ("gap", "closed_adapted", "closed_gaussian", "closed_backward", "side")
    )
    return f"  {row['label']:>12}{_cell(row['psnr'], 2)}" + "".join((*rates, *parts))


def _cell(value: float | None, digits: int, unit: str = "") -> str:
    return f"{'-' if value is None else f'{value:.{digits}f}{unit}':>9}"


def _bd_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """BD-rates against static tables at the same quality, where there are points enough."""
    from nic_lightning.metrics.bd import BdError, bd_rate

    ways = [way for way in ("adapted", "gaussian", "backward", "ideal") if rows[0][way] is not None]
    anchor = [{"bpp": row["static"], "psnr": row["psnr"], "label": row["label"]} for row in rows]
    found = []
    for way in ways:
        try:
            value = bd_rate(anchor, [{**p, "bpp": row[way]} for p, row in zip(anchor, rows, strict=True)]).value
        except BdError as error:
            return [f"No BD-rate: {error}"]
        found.append(f"{way} {value:+.2f} %")
    return ["BD-rate over PSNR against static tables: " + ", ".join(found)]


def _cost_lines(macs: Mapping[str, int]) -> list[str]:
    """What making tables costs, for each pixel of an image of Kodak's size."""
    if not macs:
        return []
    a, s = (macs[name] / (512 * 768) for name in ("analysis", "synthesis"))
    return [f"Tables cost {a:.2f} MAC/pixel to analyse (h_a) and {s:.2f} to make (h_s), for each latent at 512x768."]


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nic_lightning.runs.record.files import write_atomically

    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), table)
    write_atomically(path, table.getvalue())
