"""Reconstructions for the page: originals and what codecs made of them, as PNG files in base64."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.page.columns import finite, shortened
from nic_lightning.report.page.markup import details, escaped
from nic_lightning.report.page.reading import Sources
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.files import read_inside

MAX_ITEMS = 4
"""Images shown for each data set."""
MAX_IMAGE = 12 * 2**20
MAX_TOTAL = 24 * 2**20
"""Bytes of PNG in a page."""
MAX_PIXELS = 2**26
ORIGINAL = "original"
IN_CAPTIONS = 2
"""Qualities that a caption states."""


@dataclass
class Gallery:
    """Pictures of a page: `items` say what there is, `blocks` hold the files by number, in base64."""

    items: list[dict[str, Any]] = field(default_factory=list)
    """{"dataset", "item", "entries": [{"key", "id", "codec", "label", "bpp", ...}]}, the original first."""
    blocks: list[str] = field(default_factory=list)
    left: int = MAX_TOTAL
    """Bytes that there is still room for."""
    left_out: int = 0


@dataclass(frozen=True)
class _Candidate:
    """A point of a curve of which a picture of some image may lie in a run folder."""

    curve: Curve
    place: int
    run: Run

    @property
    def label(self) -> str:
        return str(self.curve.points[self.place]["label"])


def gallery(sources: Sources, made: Sequence[Curve]) -> Gallery:
    """The pictures that evaluations saved, as many as a page holds: first the ends of each curve.

    A picture that cannot be shown is reported among its run's problems.
    """
    kept = Gallery()
    found = []
    for dataset, item in list(_items(sources)):
        entry = {"dataset": shortened(dataset), "item": shortened(item), "entries": []}
        if _add_original(kept, sources, dataset, item, entry):
            found.append((dataset, item, entry, list(_candidates(sources, made, dataset, item))))
    for inner in (False, True):
        for dataset, item, entry, candidates in found:
            for one in candidates:
                if _is_inner(one) is inner:
                    _add(kept, one, dataset, item, entry)
    order = {id(curve): place for place, curve in enumerate(made)}
    for _, _, entry, _ in found:
        entry["entries"][1:] = sorted(entry["entries"][1:], key=lambda e: (order[e.pop("curve")], e.pop("rate")))
    kept.items = [entry for _, _, entry, _ in found if len(entry["entries"]) > 1]
    return kept


def _items(sources: Sources) -> Iterator[tuple[str, str]]:
    """Data sets and images with a saved original, at most MAX_ITEMS of each set, in the order of the tables."""
    counts: dict[str, int] = {}
    seen: set[tuple[str, str]] = set()
    for source in sources.all:
        if not (source.run.folder / RECONSTRUCTIONS).is_dir():
            continue
        for pair in dict.fromkeys((str(row["dataset"]), str(row["item"])) for row in source.rows):
            if pair in seen or counts.get(pair[0], 0) >= MAX_ITEMS or not _file(source.run, *pair, None).exists():
                continue
            seen.add(pair)
            counts[pair[0]] = counts.get(pair[0], 0) + 1
            yield pair


def _candidates(sources: Sources, made: Sequence[Curve], dataset: str, item: str) -> Iterator[_Candidate]:
    runs = {run.name: run for run in sources.runs}
    for curve in made:
        if curve.dataset != dataset or not curve.rows:
            continue
        for place, point in enumerate(curve.points):
            run = runs.get(point["run"])
            if run is None or item not in curve.rows[place] or not _file(run, dataset, item, None).parent.is_dir():
                continue
            if os.path.lexists(_file(run, dataset, item, point["label"])):
                yield _Candidate(curve, place, run)
            elif not curve.classic:  # pictures of classic codecs that stand beside others are not saved
                run.add_problem(f"the picture of {item} at point {point['label']} is missing.")


def _is_inner(candidate: _Candidate) -> bool:
    return 0 < candidate.place < len(candidate.curve.points) - 1


def _add_original(kept: Gallery, sources: Sources, dataset: str, item: str, entry: dict[str, Any]) -> bool:
    for run in sources.runs:
        if os.path.lexists(_file(run, dataset, item, None)):
            number = _block(kept, run, dataset, item, None)
            if number is not None:
                entry["entries"].append({"key": ORIGINAL, "id": number})
                return True
    return False


def _add(kept: Gallery, one: _Candidate, dataset: str, item: str, entry: dict[str, Any]) -> None:
    number = _block(kept, one.run, dataset, item, one.label)
    if number is None:
        return
    row = one.curve.rows[one.place][item]
    medium = one.curve.medium
    numbers = {key: finite(row.get(key)) for key in (medium.rate.key, *list(medium.drawn)[:IN_CAPTIONS])}
    named = {"key": str(number), "id": number, "codec": shortened(one.curve.name), "label": shortened(one.label)}
    entry["entries"].append(named | numbers | {"curve": id(one.curve), "rate": numbers[medium.rate.key]})


def _block(kept: Gallery, run: Run, dataset: str, item: str, label: str | None) -> int | None:
    """Number of the picture's block; None when it is damaged, too large, or one too many."""
    path = _file(run, dataset, item, label)
    try:
        data = read_inside(run.folder, str(path.relative_to(run.folder)), MAX_IMAGE)
        checked_png(data)
    except (RunError, OSError, ValueError, SyntaxError) as error:
        run.add_problem(f"the picture {path.name} of {item} is not shown: {error}")
        return None
    if len(data) > kept.left:
        kept.left_out += 1
        return None
    kept.left -= len(data)
    kept.blocks.append(base64.b64encode(data).decode())
    return len(kept.blocks) - 1


def folded_pictures(run: Run, files: Sequence[Path], room: list[int]) -> str:
    """PNG files of a run in the page itself, each folded away but the first; `room[0]` bytes of them are left."""
    shown: list[str] = []
    for path in files:
        try:
            data = read_inside(run.folder, str(path.relative_to(run.folder)), MAX_IMAGE)
            checked_png(data)
        except (RunError, OSError, ValueError, SyntaxError) as error:
            run.add_problem(f"the picture {path.name} is not shown: {error}")
            continue
        if len(data) <= room[0]:
            room[0] -= len(data)
            source = base64.b64encode(data).decode()
            picture = f'<img alt="{escaped(path.stem)}" style="max-width:100%" src="data:image/png;base64,{source}">'
            shown.append(details(escaped(path.stem.replace("_", " ")), picture, not shown))
    return "".join(shown)


def checked_png(data: bytes) -> None:
    """ValueError, SyntaxError or OSError for anything that is no sound PNG of a bearable size."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size[0] * image.size[1] > MAX_PIXELS:
                raise ValueError("it is too large.")
            image.verify()
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError("it is no PNG.") from error


def _file(run: Run, dataset: str, item: str, label: str | None) -> Path:
    return reconstruction_path(run.folder / RECONSTRUCTIONS, dataset, item, label)
