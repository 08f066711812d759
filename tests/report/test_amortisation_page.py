"""The amortisation gap of runs on the report's page."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nic_lightning.report.page.amortisation import amortisation_section
from nic_lightning.runs.index.index import Run

HEADER = "dataset,label,lmbda,images,psnr,rest,static,adapted,gaussian,backward,ideal,gap,closed_adapted,side\n"
POINT = "kodak,64,64,24,25.26,0,0.29127,0.26561,0.26295,,0.25570,12.21,72.14,0.17\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "amortisation").mkdir()
    (tmp_path / "amortisation" / "points.csv").write_text(HEADER + POINT)
    Image.new("RGB", (8, 8)).save(tmp_path / "amortisation" / "gains.png")
    return tmp_path


def test_rates_shares_and_figures_are_shown(folder: Path) -> None:
    run = Run(folder, "adapted")
    page = amortisation_section([run])
    for cell in ("kodak", "25.26 dB", "0.2913", "0.2656", "0.2557", "12.2 %", "72.1 %", "0.2 %"):
        assert f">{cell}<" in page
    assert "backward" not in page  # was not measured
    assert page.count("data:image/png;base64,") == 1
    assert not run.problems


def test_a_run_without_it_has_no_section(tmp_path: Path) -> None:
    assert amortisation_section([Run(tmp_path, "adapted")]) == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "has no dataset"),
        (b"\xff\xfe", "utf-8"),
        (b"x" * (2**20 + 1), "longer than"),
    ],
)
def test_a_foreign_table_is_a_problem_in_words(folder: Path, content: bytes, said: str) -> None:
    (folder / "amortisation" / "points.csv").write_bytes(content)
    run = Run(folder, "adapted")
    assert amortisation_section([run]) == ""
    assert said in str(run.problems[0])


def test_what_a_table_says_is_text(folder: Path) -> None:
    (folder / "amortisation" / "points.csv").write_text(
        HEADER + POINT.replace("kodak", "<b>x</b>").replace("25.26", "?")
    )
    (folder / "amortisation" / "gains.png").write_bytes(b"no picture")
    run = Run(folder, "adapted")
    page = amortisation_section([run])
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
    assert "gains.png is not shown" in str(run.problems[0])
