"""The gathering of experiments/classic_codecs, on runs made of numbers, and the numbers that it shows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "classic_codecs"
POINTS = {"q5": (0.15, 27.0), "q20": (0.3, 30.0), "q50": (0.7, 34.0), "q80": (1.4, 38.0)}


@pytest.fixture(scope="module")
def module() -> Any:
    return program("classic_codecs")


def make_run(folder: Path, scale: float = 1.0) -> None:
    record = RunRecord(folder)
    record.start({"name": folder.name}, [])
    made = [
        {"run": "x", "experiment": "x", "dataset": "kodak", "codec": folder.name, "item": item, "label": label}
        | {"quality": float(label[1:]), "bpp": rate * scale, "psnr": psnr, "encode_ms": 3.0, "decode_ms": 1.0}
        for label, (rate, psnr) in POINTS.items()
        for item in ("a", "b")
    ]
    write_results(folder / "results.parquet", made)
    record.finish("finished")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_measured_curves_are_held_against_published_ones(module, tmp_path: Path) -> None:
    for name, scale in (("jpeg", 1.0), ("hevc_444", 0.5), ("jpegxl", 0.8)):
        make_run(tmp_path / "runs" / name, scale)
    notes = module.EXPERIMENT.collect(tmp_path / "runs", tmp_path / "out")
    assert "bpg: not run." in notes
    first = table(tmp_path / "out" / "measured.csv")[0]
    assert (first["codec"], first["point"], first["encode_ms"], first["decode_ms"]) == ("jpeg", "q5", "3.0", "1.0")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| hevc_444 | - | -50.0 % |" in text  # against jpeg
    assert "| hevc_444 | bpg |" in text
    assert "jpegxl" not in text.partition("counterparts by collect.py: begin")[2].partition("-->\n\n-")[0]
    assert (tmp_path / "out" / "rate_distortion.png").stat().st_size > 10_000


def test_what_is_published_here_was_measured_on_all_images() -> None:
    measured = table(FOLDER / "measured.csv")
    assert {row["images"] for row in measured} == {"24"}
    at = {(row["codec"], row["point"]): (float(row["bpp"]), float(row["psnr"])) for row in measured}
    assert at["webp", "q5"] == pytest.approx((0.2344, 28.328), abs=1e-3)
    assert at["webp", "q50"] == pytest.approx((0.7218, 33.238), abs=1e-3)
    assert at["jpeg", "q50"][0] == pytest.approx(0.906, abs=0.002)
    assert {row["method"] for row in table(FOLDER / "published.csv")} == {
        "jpeg",
        "jpeg2000",
        "webp",
        "bpg",
        "vtm",
        "av1",
    }
