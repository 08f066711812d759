"""What the README of experiments/translation_faces says, against the committed numbers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nic_lightning.report.experiments.gathering import read_csv
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "translation_faces"


@pytest.fixture(scope="module")
def collect():
    return program("translation_faces")


def test_the_readme_has_what_was_measured(collect):
    readme, coding = (FOLDER / "README.md").read_text(), read_csv(FOLDER / "coding.csv")
    assert collect.table(collect.COMPARED, collect.comparison(coding)) in readme
    for name, titles in (("lever", collect.LEVER), ("translations", collect.TRANSLATED)):
        assert collect.table(titles, read_csv(FOLDER / f"{name}.csv")) in readme
    assert {row["codec"] for row in coding} == {*collect.CODED, "jpeg"}
    assert {sum(row["codec"] == run for row in coding) for run in collect.CODED} == {26}


def test_the_weights_are_a_lever_of_both_rates():
    rows = read_csv(FOLDER / "lever.csv")
    for rate in ("translate_bpp", "autoencode_bpp"):
        rates = [float(row[rate]) for row in rows]
        assert rates[0] > rates[1] > rates[2]


def test_files_say_the_same_in_another_process():
    rows = read_csv(FOLDER / "files.csv")
    assert [row["mode"] for row in rows] == ["translate", "autoencode"]
    assert all(int(row["largest_difference"]) <= 1 and float(row["equal_values"]) > 0.999 for row in rows)


def test_where_autoencoding_beats_jpeg_and_where_not(collect):
    """As the README says: in whole files, and not in entropy-coded data alone."""
    rows = [row for row in collect.comparison(read_csv(FOLDER / "coding.csv")) if row["run"] in collect.RUNS]
    for row in rows:
        if row["counted"] == "whole files":
            assert row["bpp"] < row["jpeg_lowest_bpp"]
            assert row["lpips"] < 0.55 * row["jpeg_lowest_lpips"]
        else:
            assert row["lpips"] > row["jpeg_lpips"]


def test_rates_that_a_curve_does_not_reach_have_no_value(collect):
    curve = collect.Curve(np.array([0.2, 0.4]), np.array([0.3, 0.1]), np.array([20.0, 24.0]))
    assert collect.at_rate(curve, 0.3, curve.lpips) == pytest.approx(0.2)
    assert collect.at_rate(curve, 0.1, curve.lpips) is None
    assert collect.at_rate(curve, 0.5, curve.lpips) is None


def test_the_head_of_a_jpeg_file_is_what_a_grey_picture_takes_too():
    """Standard tables: heads are equal, whatever the picture; what is left of a grey one is short."""
    coding, dice = program("translation_faces", "coding"), np.random.default_rng(0)
    files = []
    for picture in (np.full((64, 64, 3), 128, np.uint8), dice.integers(0, 256, (64, 64, 3), dtype=np.uint8)):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="JPEG", quality=30)
        files.append(buffer.getvalue())
    grey, noise = (coding.jpeg_head(data) for data in files)
    assert grey == noise
    assert 0 < len(files[0]) - grey < 100 < len(files[1]) - noise
