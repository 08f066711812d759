"""What `nic-analyze` measured of runs on the page: means of each layer and motion, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_lightning.errors import RunError
from nic_lightning.report.curves.latent_motion import summary
from nic_lightning.report.page.columns import shortened
from nic_lightning.report.page.gallery import folded_pictures
from nic_lightning.report.page.markup import details, escaped, number, table
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.latent_motion import LATENT_MOTION, read_latent_motion
from nic_lightning.runs.record.text import printable

NOTE = (
    "NRMSE of feature tensors predicted by motion compensation, as a part of the tensor&rsquo;s range; the layer "
    "&ldquo;frame&rdquo; is the frame itself. Frames that HEVC predicts have .009 to .044. Rates are estimated, and "
    "motion not counted: by the codec&rsquo;s entropy models, and by the entropy of each channel&rsquo;s own symbols."
)
FILES = ("curves", "histogram", "codec_layers", "codec_shifts", "codec_rates", "fields", "panels")
FOLDER = "latent_motion"
MAX_ROWS, MAX_TOTAL = 400, 24 * 2**20
"""Rows of a table that are shown, and bytes of all pictures."""
_TEXTS = {"study": "study", "layer": "layer", "motion": "motion", "way": "predicted by", "label": "point"}
_NUMBERS = {
    "images": ("images", 0),
    "nrmse": ("mean NRMSE", 4),
    "nrmse_max": ("largest", 4),
    "epe": ("error [pixels]", 2),
    "bpp": ("bpp", 4),
    "bpp_ideal": ("bpp, entropy", 4),
    "psnr": ("PSNR [dB]", 2),
}


def latent_motion_section(runs: Sequence[Run]) -> str:
    """Tables and figures of all runs as HTML; empty where nothing was measured."""
    parts, room = [], [MAX_TOTAL]
    for run in runs:
        if not (run.folder / LATENT_MOTION).exists():
            continue
        try:
            rows = summary(read_latent_motion(run.folder))
        except RunError as error:
            run.add_problem(f"latent motion is not shown: {error}")
            continue
        names = ", ".join(shortened(name) for name in dict.fromkeys(row["network"] for row in rows))
        pictures = folded_pictures(run, _files(run.folder / FOLDER), room)
        measured = details(f"Means of {escaped(names)}", _table(rows[:MAX_ROWS]), not pictures)
        parts.append(f"<h3>{escaped(run.name)}</h3>{pictures}{measured}")
    return "".join(parts)


def latent_motion_lines(runs: Iterable[Run]) -> str:
    """For the terminal: which runs have such a section; "" where none has."""
    found = [run for run in runs if (run.folder / LATENT_MOTION).exists()]
    return "\n".join(printable(f"{run.name} analyses latent motion: the page has its curves.") for run in found)


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder / f"{name}.png" for name in FILES) if path.exists()]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    texts = {key: title for key, title in _TEXTS.items() if any(row[key] for row in rows)}
    numbers = {key: shown for key, shown in _NUMBERS.items() if any(row[key] is not None for row in rows)}
    lines = [
        [escaped(shortened(row[key])) for key in texts]
        + [number(row[key], digits) for key, (_, digits) in numbers.items()]
        for row in rows
    ]
    return table([*texts.values(), *(title for title, _ in numbers.values())], lines, text_columns=len(texts))
