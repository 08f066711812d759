"""Gather what `nic-analyze` measured in run.sh's runs into measured.csv, figures and the tables of README.md.

python experiments/latent_motion/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import BdError, bd_rate_of_values
from nic_lightning.report.experiments.gathering import Gathering, read_csv, write_csv
from nic_lightning.runs.record.latent_motion import LATENT_MOTION, Table, names, read_latent_motion, select

HERE = Path(__file__).resolve().parent
CURVES = {"efficientnet_lite0_kodak": "EfficientNet-Lite0", "mae_small_kodak": "MAE, small"}
"""Runs with sweeps and random motions, and what their networks are called here."""
CODEC = "mae_small_sintel"
FIGURES = {"curves.png": "efficientnet_lite0_kodak", "histogram.png": "efficientnet_lite0_kodak"}
FIGURES |= {"codec_shifts.png": CODEC}
READINGS = ("translation_whole", "translation_between", "rotation", "scale_down", "scale_up", "shear")
TITLES = ("shift by strides", "between", "rotation 10°", "scale .8", "scale 1.25", "shear 10°")
COLUMNS = ("network", "layer", "stride", "images", *READINGS, "affine_mean", "affine_p5", "affine_p95")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Motion(Gathering):
    """Readings of the curves and histograms of each layer, and what motion wins in a codec."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write measured.csv, codec.csv, figures and the tables; raises UserError where nothing was measured."""
        found = {name: runs / name for name in (*CURVES, CODEC) if (runs / name / LATENT_MOTION).exists()}
        if not found:
            raise UserError(f"There is no {LATENT_MOTION} in {runs / CODEC} nor in other runs of run.sh: run it first.")
        tables = {name: read_latent_motion(folder) for name, folder in found.items()}
        out.mkdir(parents=True, exist_ok=True)
        rows = [row for name in CURVES if name in tables for row in readings(tables[name], CURVES[name])]
        parts = {"published": layer_table(read_csv(HERE / "published.csv"), "affine_mode", "affine_range")}
        if rows:
            write_csv(out / "measured.csv", COLUMNS, rows)
            shown = [row | {"spread": f"{row['affine_p5']:.3f}-{row['affine_p95']:.3f}"} for row in rows]
            parts["measured"] = layer_table(shown, "affine_mean", "spread")
        if CODEC in tables:
            ways = codec_rows(tables[CODEC])
            write_csv(out / "codec.csv", list(ways[0]), ways)
            parts |= {"codec": codec_table(ways), "layers": error_table(tables[CODEC])}
        for figure, name in FIGURES.items():
            if (runs / name / "latent_motion" / figure).exists():
                shutil.copyfile(runs / name / "latent_motion" / figure, out / figure)
        self.fill_readme(out, parts)
        return [f"{name}: not analysed." for name in (*CURVES, CODEC) if name not in tables]


def readings(table: Table, network: str) -> list[dict[str, Any]]:
    """Mean NRMSE over images of each layer where the paper's plots are read, and over random affine motions."""
    found = []
    for layer in names(table["layer"]):
        here = select(table, study="curves", layer=layer)
        if not len(here["value"]):
            continue
        stride = float(here["stride"][0])
        shifts = select(here, motion="translate")
        steps = shifts["value"] / stride
        whole = np.isclose(steps, np.round(steps)) & (shifts["value"] != 0)
        between = np.isclose(steps - np.floor(steps), 0.5)
        row = {"network": network, "layer": layer, "stride": int(stride), "images": len(set(here["item"]))}
        row |= {
            "translation_whole": _mean(shifts["nrmse"][whole]),
            "translation_between": _mean(shifts["nrmse"][between]),
        }
        ends = {"rotation": ("rotate", -10, 10), "scale_down": ("scale", 0.8), "scale_up": ("scale", 1.25)}
        for name, (motion, *values) in (ends | {"shear": ("shear", -10, 10)}).items():
            swept = select(here, motion=motion)
            row[name] = _mean(swept["nrmse"][np.isclose(swept["value"][:, None], values).any(1)])
        drawn = select(table, study="histogram", layer=layer)["nrmse"]
        row["affine_mean"] = _mean(drawn)
        low, high = np.nanquantile(drawn, (0.05, 0.95)) if len(drawn) else (np.nan, np.nan)
        found.append(row | {"affine_p5": round(float(low), 5), "affine_p95": round(float(high), 5)})
    return found


def codec_rows(table: Table) -> list[dict[str, Any]]:
    """Rates and PSNR of each way at each operating point, means over frames of true motion."""
    flow = select(table, study="codec_motion", motion="flow", layer="")
    rows = []
    for way in names(flow["way"]):
        for label in names(flow["label"]):
            here = select(flow, way=way, label=label)
            values = {key: round(float(here[key].mean()), 5) for key in ("bpp", "bpp_ideal", "psnr")}
            rows.append({"way": way, "label": label, "frames": len(here["bpp"])} | values)
    return rows


def layer_table(rows: Sequence[Row], affine: str, spread: str) -> str:
    """Markdown: a row for each layer."""
    header = ["network", "layer", "stride", *TITLES, "affine", "range"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [row["network"], f"`{row['layer']}`", row["stride"], *(row[key] for key in READINGS)]
        lines.append("| " + " | ".join(_cell(cell) for cell in (*cells, row[affine], row[spread])) + " |")
    return "\n".join(lines)


def codec_table(rows: Sequence[Row]) -> str:
    """Markdown: each way at each point, and BD-rates over PSNR against coding the frame alone."""
    labels = names(np.array([row["label"] for row in rows], object))
    by_way: dict[str, list[Row]] = {}
    for row in rows:
        by_way.setdefault(row["way"], []).append(row)
    header = ["what is coded", *(f"bpp / entropy / PSNR at {label}" for label in labels), "BD-rate", "by entropy"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for way, points in by_way.items():
        cells = [f"{p['bpp']:.3f} / {p['bpp_ideal']:.3f} / {p['psnr']:.2f} dB" for p in points]
        deltas = [_delta(by_way["frame"], points, key) if way != "frame" else "-" for key in ("bpp", "bpp_ideal")]
        lines.append("| " + " | ".join([way, *cells, *deltas]) + " |")
    return "\n".join(lines)


def error_table(table: Table) -> str:
    """Markdown: NRMSE of each layer by what it is predicted from, at the middle operating point."""
    flow = select(table, study="codec_motion", motion="flow")
    labels = names(flow["label"])
    here = select(flow, label=labels[len(labels) // 2])
    ways = names(select(here, layer="frame")["way"])
    lines = ["| layer | " + " | ".join(ways) + " |", "|" + "---|" * (len(ways) + 1)]
    for layer in (layer for layer in names(here["layer"]) if layer):
        cells = [f"{select(here, layer=layer, way=way)['nrmse'].mean():.4f}" for way in ways]
        lines.append(f"| `{layer}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _delta(anchor: Sequence[Row], tests: Sequence[Row], key: str) -> str:
    try:
        sides = [[row[name] for row in rows] for rows in (anchor, tests) for name in (key, "psnr")]
        return f"{bd_rate_of_values(*sides):+.1f} %"
    except BdError:
        return "-"


def _mean(values: Any) -> float | None:
    present = values[np.isfinite(values)]
    return round(float(present.mean()), 5) if len(present) else None


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(Motion(HERE).main())
