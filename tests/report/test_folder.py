from __future__ import annotations

import csv
from pathlib import Path

import pytest

from nic_lightning.cli import main
from tests.report.samples import classic_rows, learned_rows, make_run


def test_figures_and_tables_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", learned_rows("a_b") + classic_rows("=jpeg()"))
    out, folder = tmp_path / "r.html", tmp_path / "figures"
    assert main(["report", str(run), "-o", str(out), "--figures", str(folder), "--anchor", "=jpeg()"]) == 0
    names = sorted(path.name for path in folder.iterdir())
    tables = [f"{kind}_kodak.{form}" for kind in ("bd", "points") for form in ("csv", "tex")]
    assert names == sorted(["images.csv", "rd_psnr_kodak.png", "rd_ms_ssim_db_kodak.png", *tables])
    assert f"Figures and tables: 7 files in {folder}" in capsys.readouterr().out
    points = list(csv.reader((folder / "points_kodak.csv").read_text().splitlines()))
    assert points[0][:4] == ["codec", "point", "bpp", "bpp_estimated"]
    assert points[1][:3] == ["a_b", "64", "0.1000"]
    assert points[5][0] == "'=jpeg()"
    deltas = list(csv.DictReader((folder / "bd_kodak.csv").read_text().splitlines()))
    assert [line["metric"] for line in deltas] == ["psnr", "ms_ssim_db"]
    assert float(deltas[0]["bd_rate_percent"]) < -40
    latex = (folder / "bd_kodak.tex").read_text()
    assert latex.startswith("\\begin{tabular}{lllrrrrrrr}\n\\toprule")
    assert "a\\_b & =jpeg() & psnr" in latex
