"""What `nic amortisation` measured of runs: rates by static, adapted and ideal tables, and its figures, on the page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from nic_lightning.errors import RunError
from nic_lightning.report.page.columns import shortened
from nic_lightning.report.page.gallery import folded_pictures
from nic_lightning.report.page.markup import escaped, number, table
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.files import read_inside

NOTE = (
    "Rates of the same latents, estimated, in bits per pixel, side information included. Ideal is the entropy of each "
    "image&rsquo;s own symbols: no tables of one channel each take less."
)
FILES = ("amortisation/gains.png", "amortisation/channels.png", "amortisation/signature.png")
MAX_BYTES, MAX_ROWS, MAX_TOTAL = 2**20, 500, 16 * 2**20
"""Of one table, its rows that are shown, and bytes of all pictures."""
POINTS = "amortisation/points.csv"
_TEXTS = {"dataset": "data set", "label": "point"}
_RATES = {"static": "static", "adapted": "adapted", "gaussian": "Gaussians", "backward": "backward", "ideal": "ideal"}
_SHARES = {"gap": "gap", "closed_adapted": "closed by adapted", "side": "side information"}


def amortisation_section(runs: Sequence[Run]) -> str:
    """Tables and figures of all runs as HTML; empty where nothing was measured."""
    parts, room = [], [MAX_TOTAL]
    for run in runs:
        if not (run.folder / POINTS).exists():
            continue
        try:
            rows = _read(run)
        except (RunError, ValueError, csv.Error) as error:
            run.add_problem(f"the amortisation gap is not shown: {error}")
            continue
        files = [run.folder / name for name in FILES if (run.folder / name).exists()]
        parts.append(f"<h3>{escaped(run.name)}</h3>{_table(rows)}{folded_pictures(run, files, room)}")
    return "".join(parts)


def _read(run: Run) -> Sequence[Mapping[str, str]]:
    text = read_inside(run.folder, POINTS, MAX_BYTES).decode()
    rows = [row for _, row in zip(range(MAX_ROWS), csv.DictReader(io.StringIO(text)), strict=False)]
    missing = [key for key in (*_TEXTS, "psnr", "static", "ideal") if rows and key not in rows[0]]
    if missing or not rows:
        raise ValueError(f"{POINTS} has no {missing[0]}." if missing else f"{POINTS} is empty.")
    return rows


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    rates = {key: name for key, name in _RATES.items() if any(_number(row, key) is not None for row in rows)}
    shares = {key: name for key, name in _SHARES.items() if any(_number(row, key) is not None for row in rows)}
    lines = [
        [escaped(shortened(row[key] or "")) for key in _TEXTS]
        + [number(_number(row, "psnr"), 2, " dB")]
        + [number(_number(row, key), 4) for key in rates]
        + [number(_number(row, key), 1, " %") for key in shares]
        for row in rows
    ]
    return table([*_TEXTS.values(), "PSNR", *rates.values(), *shares.values()], lines, text_columns=2)


def _number(row: Mapping[str, str], key: str) -> float | None:
    try:
        value = float(row.get(key) or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
