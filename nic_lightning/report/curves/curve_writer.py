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
from nic_lightning.report.curves.curve import METRICS, QUALITIES, Curve
from nic_lightning.report.curves.curve_reader import COUNTS, KEYS, NUMBERS, TEXTS
from nic_lightning.runs.record.files import write_atomically

FORMATS = ("json", "csv")
_RESULTS = {**{key: names[0] for key, names in KEYS.items()}, "bpp_estimated": "bpp_loss"}
"""Our key -> its name in JSON: CompressAI's where it has one."""
_SECONDS = {"encode_ms": "encoding_time", "decode_ms": "decoding_time"}


def as_json(curve: Curve) -> str:
    """The curve in CompressAI's schema."""
    results = {_RESULTS[key]: [point[key] for point in curve.points] for key in _told(curve, [*KEYS])}
    for ours, theirs in _SECONDS.items():
        if curve.has(ours):
            results[theirs] = [point[ours] / 1000 for point in curve.points]  # for other programs
    meta = {"dataset": curve.dataset, "codec": curve.codec, "experiment": curve.experiment, "runs": curve.runs}
    content = {
        "name": curve.name,
        "description": curve.source or f"Means over images of real files, nic_lightning {__version__}",
        "meta": meta | {"classic": curve.classic},
        "meta_": {key: [point[key] for point in curve.points] for key in _told(curve, [*TEXTS, *COUNTS, *NUMBERS])},
        "results": results,
    }
    return json.dumps(content, indent=2) + "\n"


def as_csv(curve: Curve) -> str:
    """The curve as a table, a line for each point."""
    keys = _told(curve, [*TEXTS, *COUNTS, *NUMBERS, *KEYS])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "dataset", "codec", "experiment", *keys])
    whole = [curve.name, curve.dataset, curve.codec, curve.experiment]
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
            wrong = [key for key in KEYS if point[key] is not None and not math.isfinite(point[key])]
            if wrong:
                raise UserError(
                    f"{curve.name} at {point['label']} has {wrong[0]} {point[wrong[0]]}, which the files cannot hold."
                )
    for curve, path in zip(made, paths, strict=True):
        write_atomically(path, as_json(curve) if form == "json" else as_csv(curve))
    return paths


def _parts(curve: Curve) -> list[Curve]:
    """The curve without the qualities that have gaps, and one over the other images for each of these."""
    gaps = {metric: curve.over(metric) for metric in METRICS if curve.gaps(metric)}
    if not gaps:
        return [curve]
    hidden = {*gaps, *(("ms_ssim",) if "ms_ssim_db" in gaps else ())}
    rest = replace(curve, points=[{**point, **dict.fromkeys(hidden)} for point in curve.points])
    parts = [rest] if any(rest.has(metric) for metric in QUALITIES if metric not in hidden) else []
    for metric, part in gaps.items():
        kept = {metric, *(("ms_ssim",) if metric == "ms_ssim_db" else ())}
        points = [{**point, **dict.fromkeys(QUALITIES.keys() - kept)} for point in part.points]
        title = QUALITIES[metric].split(" [")[0]
        parts.append(replace(part, name=f"{curve.name}, {title} of {counted(len(part.items), 'image')}", points=points))
    return parts


def _told(curve: Curve, keys: Sequence[str]) -> list[str]:
    """Those of the keys that some point has a value for; the dB of a mean follows from the mean."""
    keys = [key for key in keys if key != "ms_ssim_db" or not curve.db_of_mean]
    return [key for key in keys if any(point[key] is not None for point in curve.points)]
