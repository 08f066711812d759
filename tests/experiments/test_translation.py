"""What the README of experiments/translation says, against the networks and the committed numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from nic_lightning.report.experiments.gathering import read_csv
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "translation"


@pytest.fixture(scope="module")
def collect():
    return program("translation")


def test_which_printed_counts_follow_from_the_networks(collect):
    """Counted anew: none does, and the README says so."""
    rows = collect.rows()
    assert rows == read_csv(FOLDER / "parameters.csv")
    assert {row["reproduced"] for row in rows} == {"no"}
    assert collect.table(rows) in (FOLDER / "README.md").read_text()
    counted = {row["method"]: int(row["here"].replace(",", "")) for row in rows}
    assert counted["StarGAN v2"] == 57_248_195
    assert counted["NIC"] == 33_327_747 + 1_004_160
    printed = collect.printed_counts()
    difference = printed["I2Icodec"] - printed["StarGAN v2"]
    assert collect._hyperprior(64) / 1e6 == pytest.approx(difference, abs=0.005)


def test_a_count_that_is_a_sum_of_parts_would_be_found(collect):
    totals = {what: total for total, what in collect.sums(collect.choices(collect.networks()))}
    assert totals["E + G without style layers + style layers of G"] == 33_892_995
    whole = (
        "E + G without style layers + style layers of G + trunk of M + 2 of M's branches + trunk of S + 2 of S' heads"
    )
    assert totals[whole] == 57_248_195
    assert totals[f"{whole} + 1 of D's trunk + heads of D"] == 78_100_485


def test_published_tables_are_whole():
    quality = read_csv(FOLDER / "published_translation.csv")
    ours = [row for row in quality if row["source"] == "table 4.1"]
    assert len(ours) == 10 * 4 + 2
    assert all(0 < float(row["fid"]) < 230 for row in quality)
    assert {row["set"] for row in quality} == {"celeba_hq", "afhq"}
    assert len(read_csv(FOLDER / "published_coding.csv")) == 8


def test_the_readme_has_what_was_measured(collect):
    rows = read_csv(FOLDER / "measured.csv")
    assert collect.measured_table(rows) in (FOLDER / "README.md").read_text()
    rates = [float(row["bpp"]) for row in rows if row["system"].startswith("discs_") and row["guide"] == "latent"]
    assert len(rates) == 3
    assert rates == sorted(rates, reverse=True)
