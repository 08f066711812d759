"""Reconstructions side by side: the original, and each codec at its lowest and highest rate."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.report.markup import escaped, number, tabs
from nic_lightning.runs.files import read_inside
from nic_lightning.runs.index import Run

MAX_ITEMS = 4
"""Images shown for each data set."""
MAX_IMAGE = 12 * 2**20
MAX_TOTAL = 40 * 2**20
"""Bytes of PNG in a page."""
MAX_PIXELS = 2**26

Rows = Sequence[dict[str, Any]]


@dataclass
class _Budget:
    left: int = MAX_TOTAL
    problems: list[str] = field(default_factory=list)


def gallery(runs: Sequence[tuple[Run, Rows]], problems: list[str]) -> str:
    """The pictures that evaluations saved, a tab for each data set; empty when there are none.

    Args:
        runs: run folders with the rows of their results tables.
        problems: gets a sentence for each picture that could not be shown.
    """
    budget = _Budget()
    parts = []
    names = list(dict.fromkeys(str(row["dataset"]) for _, rows in runs for row in rows))
    for dataset in names:
        shown = []
        for item in _items(runs, dataset):
            if len(shown) < MAX_ITEMS and (figure := _item(runs, dataset, item, budget)):
                shown.append(figure)
        if shown:
            parts.append((dataset, "".join(shown)))
    problems += budget.problems
    return tabs("pictures", parts) if parts else ""


def _items(runs: Sequence[tuple[Run, Rows]], dataset: str) -> list[str]:
    """Images with a saved original, in the order of the tables."""
    names: dict[str, None] = {}
    for run, rows in runs:
        items = dict.fromkeys(str(row["item"]) for row in rows if str(row["dataset"]) == dataset)
        names |= {item: None for item in items if _file(run, dataset, item, None).exists()}
    return list(names)


def _item(runs: Sequence[tuple[Run, Rows]], dataset: str, item: str, budget: _Budget) -> str:
    """The original, then every codec at its lowest rate, then every codec at its highest."""
    candidates = [
        _Candidate(run, row, len({r["label"] for r in rows if r["codec"] == row["codec"]}) > 1)
        for run, rows in runs
        for row in rows
        if (str(row["dataset"]), str(row["item"])) == (dataset, item) and row["bpp"] is not None
    ]
    original = next((run for run, _ in runs if _file(run, dataset, item, None).exists()), None)
    if original is None:
        return ""
    tiles = _tile(original, dataset, item, None, "original", budget)
    chosen = _chosen([c for c in candidates if _file(c.run, dataset, item, c.label).exists()])
    for candidate in chosen:
        row = candidate.row
        caption = f"<b>{escaped(row['codec'])} {escaped(candidate.label)}</b> "
        caption += f"{number(row['bpp'], 3)} bpp, {number(row['psnr'], 2)} dB"
        if not candidate.classic and len({c.run.name for c in chosen if not c.classic}) > 1:
            caption += f'<span class="note">{escaped(candidate.run.name)}</span>'
        tiles += _tile(candidate.run, dataset, item, candidate.label, caption, budget)
    return f'<h3>{escaped(item)}</h3><div class="tiles">{"".join(tiles)}</div>' if len(tiles) > 1 else ""


@dataclass(frozen=True)
class _Candidate:
    """A row of the results whose picture may be shown."""

    run: Run
    row: dict[str, Any]
    has_siblings: bool
    """Whether its run has more points of this codec; else it is a point of a sweep's curve."""

    @property
    def label(self) -> str:
        return str(self.row["label"])

    @property
    def classic(self) -> bool:
        return self.row["quality"] is not None

    @property
    def curve(self) -> tuple[str, str]:
        """What it is a point of, as `report.curves` has it."""
        codec = str(self.row["codec"])
        if self.classic:
            return codec, ""
        return codec, self.run.name if self.has_siblings else str(self.row["experiment"])


def _chosen(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Lowest and highest rate of each learned curve; of each classic codec the points nearest to these."""
    curves: dict[tuple[str, str], list[_Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: (c.classic, c.row["bpp"])):
        curves.setdefault(candidate.curve, []).append(candidate)
    learned = [points for points in curves.values() if not points[0].classic]
    rates = [candidate.row["bpp"] for points in learned for candidate in points]
    chosen = []
    for end, target in ((0, min(rates, default=None)), (-1, max(rates, default=None))):
        for points in curves.values():
            if target is None or not points[0].classic:
                chosen.append(points[end])
            else:
                chosen.append(_nearest(points, target))
    return list({id(candidate): candidate for candidate in chosen}.values())


def _nearest(points: Sequence[_Candidate], rate: float) -> _Candidate:
    return min(points, key=lambda candidate: abs(candidate.row["bpp"] - rate))


def _tile(run: Run, dataset: str, item: str, label: str | None, caption: str, budget: _Budget) -> list[str]:
    """A picture with its caption (HTML); no tile when the picture is missing, damaged or too large."""
    path = _file(run, dataset, item, label)
    if not path.exists() or budget.left <= 0:
        return []
    try:
        data = read_inside(run.folder, str(path.relative_to(run.folder)), MAX_IMAGE)
        width, height = _size(data)
    except (RunError, OSError, ValueError, SyntaxError) as error:
        budget.problems.append(f"{run.name}: the picture {path.name} of {item} is not shown: {error}")
        return []
    budget.left -= len(data)
    if budget.left <= 0:
        budget.problems.append("There are more pictures than one page holds; the rest is left out.")
        return []
    source = base64.b64encode(data).decode()
    image = f'<img src="data:image/png;base64,{source}" width="{width}" height="{height}" alt="">'
    return [f"<figure>{image}<figcaption>{caption}</figcaption></figure>"]


def _size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG; ValueError for anything else."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            size = image.size
            if size[0] * size[1] > MAX_PIXELS:
                raise ValueError("it is too large.")
            image.verify()
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError("it is no PNG.") from error
    return size


def _file(run: Run, dataset: str, item: str, label: str | None) -> Any:
    return reconstruction_path(run.folder / RECONSTRUCTIONS, dataset, item, label)
