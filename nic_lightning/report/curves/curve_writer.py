"""Writing curves of means to files that `report/curves/curve_reader.py` reads back exactly. No torch needed."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nic_lightning import __version__
from nic_lightning.errors import UserError, counted
from nic_lightning.media.base import DEFAULT, Medium
from nic_lightning.report.curves.curve import Curve
from nic_lightning.report.curves.curve_names import COUNTS, NUMBERS, TEXTS, keys_of
from nic_lightning.runs.record.files import write_atomically

FORMATS = ("json", "csv")
_SECONDS = {"encode_ms": "encoding_time", "decode_ms": "decoding_time"}


def as_json(curve: Curve) -> str:
    """The curve in CompressAI's schema."""
    # CompressAI's names where it has one.
    names = {key: names[0] for key, names in keys_of(curve.medium).items()} | {"bpp_estimated": "bpp_loss"}
    results = {names[key]: [point[key] for point in curve.points] for key in _told(curve, [*keys_of(curve.medium)])}
    for ours, theirs in _SECONDS.items():
        if curve.has(ours):
            results[theirs] = [point[ours] / 1000 for point in curve.points]  # for other programs
    meta = {"dataset": curve.dataset, "codec": curve.codec, "experiment": curve.experiment, "runs": curve.runs}
    content = {
        "name": curve.name,
        "description": curve.source or f"Means over images of real files, nic_lightning {__version__}",
        "meta": meta | {"classic": curve.classic} | _medium(curve),
        "meta_": {key: [point[key] for point in curve.points] for key in _told(curve, [*TEXTS, *COUNTS, *NUMBERS])},
        "results": results,
    }
    return json.dumps(content, indent=2) + "\n"


def as_csv(curve: Curve) -> str:
    """The curve as a table, a line for each point."""
    keys = _told(curve, [*TEXTS, *COUNTS, *NUMBERS, *keys_of(curve.medium)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "dataset", "codec", "experiment", *_medium(curve), *keys])
    whole = [curve.name, curve.dataset, curve.codec, curve.experiment, *_medium(curve).values()]
    writer.writerows([*whole, *(point[key] for key in keys)] for point in curve.points)
    return text.getvalue()


def write_curves(made: Sequence[Curve], folder: Path, form: str = "json", overwrite: bool = False) -> list[Path]:
    """Write each curve to a file of its own, named after its data set and name; the paths.

    A quality that some images have no finite value of stands in a file of its own, with the rates of the others.

    Raises:
        UserError: a file exists already and may not be replaced, or a value is not finite (a PSNR without any error).
    """
    paths: list[Path] = []
    made = [part for curve in made for part in _parts(curve)]
    for curve in made:
        stem = re.sub(r"[^A-Za-z0-9.+=-]+", "_", f"{curve.dataset}-{curve.name}").strip("_.")[:100]
        twins = sum(path.name.split("~")[0].removesuffix(f".{form}") == stem for path in paths)
        paths.append(folder / f"{stem}{f'~{twins + 1}' if twins else ''}.{form}")
    for path in paths:
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists already; --overwrite replaces it.")
    for curve in made:
        for point in curve.points:
            wrong = [key for key in keys_of(curve.medium) if point[key] is not None and not math.isfinite(point[key])]
            if wrong:
                raise UserError(
                    f"{curve.name} at {point['label']} has {wrong[0]} {point[wrong[0]]}, which the files cannot hold."
                )
    for curve, path in zip(made, paths, strict=True):
        write_atomically(path, as_json(curve) if form == "json" else as_csv(curve))
    return paths


def _parts(curve: Curve) -> list[Curve]:
    """The curve without the qualities that have gaps, and one over the other images for each of these."""
    medium = curve.medium
    gaps = {metric: curve.over(metric) for metric in medium.drawn if curve.gaps(metric)}
    if not gaps:
        return [curve]
    hidden = {key for metric in gaps for key in _alike(medium, metric)}
    rest = replace(curve, points=[{**point, **dict.fromkeys(hidden)} for point in curve.points])
    parts = [rest] if any(rest.has(metric) for metric in medium.compared if metric not in hidden) else []
    for metric, part in gaps.items():
        points = [{**point, **dict.fromkeys(medium.compared.keys() - _alike(medium, metric))} for point in part.points]
        title = medium.quality(metric).title
        parts.append(
            replace(part, name=f"{curve.name}, {title} of {counted(len(part.items), medium.name)}", points=points)
        )
    return parts


def _alike(medium: Medium, metric: str) -> set[str]:
    """A quality and those that are the same one in another unit: MS-SSIM, and MS-SSIM in dB."""
    title = medium.quality(metric).title
    return {quality.key for quality in medium.qualities if quality.title == title}


def _medium(curve: Curve) -> dict[str, str]:
    """What a file says of its medium: nothing of images."""
    return {} if curve.medium.name == DEFAULT else {"medium": curve.medium.name}


def _told(curve: Curve, keys: Sequence[str]) -> list[str]:
    """Those of the keys that some point has a value for; the dB of a mean follows from the mean."""
    keys = [key for key in keys if key != "ms_ssim_db" or not curve.db_of_mean]
    return [key for key in keys if any(point[key] is not None for point in curve.points)]
