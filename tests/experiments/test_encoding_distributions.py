"""The published numbers of experiments/encoding_distributions, and what they say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import nic_lightning

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
