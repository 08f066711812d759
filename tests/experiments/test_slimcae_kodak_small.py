"""What the READMEs of the small-scale SlimCAE experiments say, against the committed numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nic_lightning.metrics.bd import bd_rate

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
FOLDER, LONG = EXPERIMENTS / "slimcae_kodak_small", EXPERIMENTS / "slimcae_long_kodak_small"
METHODS, ENTROPY = EXPERIMENTS / "variable_rate_kodak_small", EXPERIMENTS / "slimcae_entropy_kodak_small"


def points_of(folder: Path) -> dict[str, list[dict[str, float]]]:
    made: dict[str, list[dict[str, float]]] = {}
    with (folder / "measured.csv").open() as file:
        for row in csv.DictReader(file):
            made.setdefault(row["codec"], []).append({key: float(row[key]) for key in ("bpp", "psnr")})
    return made


@pytest.fixture(scope="module")
def points() -> dict[str, list[dict[str, float]]]:
    return points_of(FOLDER)


@pytest.mark.parametrize("folder", [FOLDER, LONG, ENTROPY], ids=lambda folder: folder.name)
def test_every_width_adds_rate_and_quality(folder):
    for name, curve in points_of(folder).items():
        if name not in ("jpeg", "webp"):
            assert len(curve) == 5, name
            for key in ("bpp", "psnr"):
                values = [point[key] for point in curve]
                assert values == sorted(values), f"{name}: {key} falls where the width rises"


def test_the_schedule_beats_naive_training_and_stretches_the_range(points):
    scheduled, naive = points["scheduled, SlimGDN+"], points["naive, SlimGDN+"]
    assert bd_rate(scheduled, naive).value >= 5
    assert scheduled[0]["bpp"] < naive[0]["bpp"] / 2
    readme = (FOLDER / "README.md").read_text()
    assert f"needs {bd_rate(scheduled, naive).value:.0f} % more rate" in readme


@pytest.mark.parametrize("folder", [FOLDER, LONG, METHODS, ENTROPY], ids=lambda folder: folder.name)
def test_the_readme_has_the_bd_rates_of_the_points(folder):
    points, readme = points_of(folder), (folder / "README.md").read_text()
    with (folder / "bd_rate.csv").open() as file:
        for row in csv.DictReader(file):
            if row["bd_rate"]:
                again = bd_rate(points[row["anchor"]], points[row["codec"]]).value
                assert again == pytest.approx(float(row["bd_rate"]), abs=0.06)
                assert f"{float(row['bd_rate']):+.1f} %" in readme
