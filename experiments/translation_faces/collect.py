"""Gather what run.sh measured into measured.csv, coding.csv, files.csv and the tables of README.md.

python experiments/translation_faces/collect.py RUNS [--out FOLDER]
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nic_lightning.errors import UserError
from nic_lightning.report.experiments.gathering import Gathering, read_csv, write_csv
from nic_lightning.report.page.translations import means
from nic_lightning.runs.record.translation import read_translation

RUNS = ("faces_high", "faces_middle", "faces_low")
"""From the highest rate to the lowest."""
CODED = (*RUNS, "faces_autoencoder")
"""And one that was trained on nothing but autoencoding."""
PIXELS = 64 * 64
JPEG = "jpeg"
LEVER = {
    "run": "run", "lambda_t": "lambda_T", "lambda_a": "lambda_A", "translate_bpp": "translate, bpp",
    "autoencode_bpp": "autoencode, bpp", "psnr": "PSNR", "lpips": "LPIPS",
}  # fmt: skip
TRANSLATED = {
    "run": "run", "guide": "styles from", "bpp": "bpp", "accuracy_alexnet": "taken for the target domain",
    "lpips_diversity": "LPIPS between outputs",
}  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """Means over images at each point of a codec, from the lowest rate to the highest."""

    bpp: np.ndarray
    lpips: np.ndarray
    psnr: np.ndarray


def curve(rows: Sequence[Mapping[str, str]], codec: str, heads: bool) -> Curve:
    """Means of a codec's rows, files with or without what is not entropy-coded."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        if row["codec"] == codec:
            size = int(row["bytes"]) - (0 if heads else int(row["head_bytes"]))
            points.setdefault(row["point"], []).append((8 * size / PIXELS, float(row["lpips"]), float(row["psnr"])))
    found = np.array(sorted(tuple(np.mean(values, axis=0)) for values in points.values()))
    if not len(found):
        raise UserError(f"coding.csv has no rows of {codec}.")
    return Curve(*found.T)


def at_rate(jpeg: Curve, bpp: float, values: np.ndarray) -> float | None:
    """JPEG's value at a rate, between two qualities linearly; None where it has no such files."""
    return float(np.interp(bpp, jpeg.bpp, values)) if jpeg.bpp[0] <= bpp <= jpeg.bpp[-1] else None


def comparison(rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """Autoencoding and JPEG at equal rate, once with whole files and once without their heads."""
    found = []
    for heads in (True, False):
        jpeg = curve(rows, JPEG, heads)
        for run in CODED:
            own = curve(rows, run, heads)
            bpp = float(own.bpp[0])
            row = {"counted": "whole files" if heads else "entropy-coded data alone", "run": run, "bpp": bpp}
            row |= {"lpips": float(own.lpips[0]), "jpeg_lpips": at_rate(jpeg, bpp, jpeg.lpips)}
            row |= {"psnr": float(own.psnr[0]), "jpeg_psnr": at_rate(jpeg, bpp, jpeg.psnr)}
            row |= {"jpeg_lowest_bpp": float(jpeg.bpp[0]), "jpeg_lowest_lpips": float(jpeg.lpips[0])}
            found.append(row)
    return found


def lever(runs: Path, rows: Sequence[Mapping[str, str]]) -> list[Row]:
    """Rates of both modes against the weights."""
    found = []
    for run in RUNS:
        task = yaml.safe_load((runs / run / "config.yaml").read_text(encoding="utf-8"))["task"]
        own = curve(rows, run, True)
        translated = next(row for row in means(read_translation(runs / run)) if row["guide"] == "latent")
        found.append(
            {
                "run": run, "lambda_t": task["lambda_t"], "lambda_a": task["lambda_a"],
                "translate_bpp": translated["bpp"], "autoencode_bpp": float(own.bpp[0]),
                "psnr": float(own.psnr[0]), "lpips": float(own.lpips[0]),
            }
        )  # fmt: skip
    return found


def translated(runs: Path) -> list[Row]:
    """Domain and diversity of translations, means over both directions."""
    found: list[Row] = []
    for run in RUNS:
        rows = [row for row in means(read_translation(runs / run)) if row["guide"] is not None or not found]
        found += [{"run": run if row["guide"] else row["system"], **{k: row.get(k) for k in list(TRANSLATED)[1:]}}
                  for row in rows]  # fmt: skip
    return found


def table(titles: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(titles.values())} |", "|---" * len(titles) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(row[key]) for key in titles)} |" for row in rows)])


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)
    try:
        return text if text.isdigit() else f"{float(value):.3f}"
    except ValueError:
        return text


COMPARED = {
    "counted": "counted", "run": "run", "bpp": "bpp", "lpips": "LPIPS", "jpeg_lpips": "JPEG's LPIPS there",
    "psnr": "PSNR", "jpeg_psnr": "JPEG's PSNR there", "jpeg_lowest_bpp": "JPEG's lowest bpp",
    "jpeg_lowest_lpips": "its LPIPS",
}  # fmt: skip


class Faces(Gathering):
    """The tables of this folder."""

    def collect(self, runs: Path, out: Path) -> list[str]:
        """Write them."""
        for name in ("coding.csv", "files.csv"):
            if not (runs / name).is_file():
                raise UserError(f"{runs / name} is missing; run.sh makes it.")
            shutil.copyfile(runs / name, out / name)
        coding = read_csv(out / "coding.csv")
        parts = {
            "lever": (LEVER, lever(runs, coding)),
            "translations": (TRANSLATED, translated(runs)),
            "coding": (COMPARED, comparison(coding)),
        }
        for name in ("lever", "translations"):
            titles, rows = parts[name]
            write_csv(out / f"{name}.csv", list(titles), rows)
        self.fill_readme(out, {name: table(titles, rows) for name, (titles, rows) in parts.items()})
        return []


if __name__ == "__main__":
    sys.exit(Faces(home=Path(__file__).resolve().parent).main())
