"""The published numbers of experiments/encoding_distributions, and what they say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import nic_lightning
from nic_lightning.errors import UserError
from nic_lightning.report.experiments.gathering import write_csv
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "encoding_distributions"


def published() -> list[dict[str, str]]:
    with (FOLDER / "published.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("way", "anchor", "bd", "mean"),
    [
        ("adapted_files", "static_files", -6.85, -6.91),
        ("adapted", "static", -6.88, -6.95),
        ("ideal", "static", -8.22, -8.33),
        ("gaussian", "static", -5.76, -5.82),
        ("gaussian_ideal", "static", -8.32, -8.46),
    ],
)
def test_bd_rates_are_the_published_ones(way: str, anchor: str, bd: float, mean: float) -> None:
    """The thesis prints two digits, of which the second may be off by the rounding of rates to five."""
    rows = [row for row in published() if row[way]]
    rates, tests, psnr = ([float(row[key]) for row in rows] for key in (anchor, way, "psnr"))
    assert nic_lightning.bd_rate(rates, psnr, tests, psnr) == pytest.approx(bd, abs=0.02)
    assert sum(100 * (b / a - 1) for a, b in zip(rates, tests, strict=True)) / len(rows) == pytest.approx(
        mean, abs=0.01
    )


def test_measured_points_are_gathered_beside_the_published_ones(tmp_path: Path) -> None:
    module = program("encoding_distributions")
    folder = tmp_path / "runs" / module.RUN / "amortisation"
    with pytest.raises(UserError, match="run nic amortisation"):
        module.Gap(FOLDER).collect(tmp_path / "runs", tmp_path / "out")
    rows = [
        {"dataset": "kodak", "label": label, "lmbda": 64.0, "images": 24, "psnr": psnr, "rest": 0.0, "static": rate}
        | {"adapted": 0.94 * rate, "gaussian": 0.95 * rate, "backward": None, "ideal": 0.9 * rate, "gap": 10.0}
        | {"side": 1.5}
        for label, psnr, rate in (("64", 26.0, 0.1), ("256", 29.0, 0.3), ("1024", 32.0, 0.8))
    ]
    folder.mkdir(parents=True)
    write_csv(folder / "points.csv", list(rows[0]), rows)
    assert module.Gap(FOLDER).collect(tmp_path / "runs", tmp_path / "out") == ["backward adaptation: not measured."]
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| adapted tables | -6.88 % | -6.00 % |" in text
    assert "| backward adaptation | - | - |" in text
    assert "| ideal | -8.22 % | -10.00 % |" in text
    assert "| 256 | 29.00 dB | 0.3000 | 0.2820 | 0.2850 | - | 0.2700 | 10.0 % | 1.5 % |" in text
    with (tmp_path / "out" / "measured.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["64", "256", "1024"]
    assert (tmp_path / "out" / "gains.png").stat().st_size > 5_000


def test_points_of_several_runs_make_one_curve(tmp_path: Path) -> None:
    module = program("encoding_distributions")
    row = {"images": 24, "rest": 0.0, "gaussian": None, "backward": None, "gap": 10.0, "side": 1.5}
    for label, psnr, rate in (("q3", 29.0, 0.3), ("q6", 35.0, 0.9), ("q1", 26.0, 0.1)):
        folder = tmp_path / "runs" / label / "amortisation"
        folder.mkdir(parents=True)
        own = {"label": label, "psnr": psnr, "static": rate, "adapted": 0.94 * rate, "ideal": 0.9 * rate, **row}
        write_csv(folder / "points.csv", list(own), [own])
    module.Gap(FOLDER).collect(tmp_path / "runs", tmp_path / "out")
    assert "| adapted tables | -6.88 % | -6.00 % |" in (tmp_path / "out" / "README.md").read_text()
    with (tmp_path / "out" / "measured.csv").open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["q1", "q3", "q6"]
