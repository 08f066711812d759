"""Qualities that some images have no finite value of: every mean stands beside rates of the same images."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from nic_lightning.commands.runs import show
from nic_lightning.dashboard.figures import rd_plot
from nic_lightning.report.curves.bd_rows import bd_rows
from nic_lightning.report.curves.curve import Curve, about_gaps, gaps_of
from nic_lightning.report.curves.curve_reader import read_curves
from nic_lightning.report.curves.curve_writer import write_curves
from nic_lightning.report.curves.curves import curves
from nic_lightning.report.curves.pareto import pareto
from nic_lightning.report.curves.text import rd_table
from nic_lightning.report.page.html import write_report
from nic_lightning.runs.index.summary import result_means
from tests.report.samples import make_run
from tests.report.test_html import Page

SIZES = {"large": 0, "wide": 1, "black": 2, "tiny": 3}
ABOUT = {
    "psnr": "3 of 4 images: black has no finite PSNR",
    "ms_ssim_db": "2 of 4 images: black and tiny have no finite MS-SSIM",
}


def rows(codec: str = "jpeg", scale: float = 1.0) -> list[dict[str, Any]]:
    """Four images: a black one comes back exactly, a tiny one has no MS-SSIM; rates differ much among the images."""
    made = []
    for item, size in SIZES.items():
        for k in range(4):
            row = {"run": codec, "codec": codec, "dataset": "kodak", "item": item, "label": f"q{k}", "quality": 1.0 * k}
            row |= {"bpp": (0.1 + 0.1 * k) * scale * 3**size, "psnr": 30.0 + k + size, "ms_ssim_db": 10.0 + k + size}
            row["ms_ssim"] = 1 - 10 ** (-row["ms_ssim_db"] / 10)
            if item == "tiny":
                row |= {"ms_ssim": None, "ms_ssim_db": None}
            if item == "black":
                row |= {"psnr": math.inf, "ms_ssim": 1.0, "ms_ssim_db": math.inf}
            made.append(row)
    return made


RIGHT = {"psnr": (0.1 * (1 + 3 + 27) / 3, 30 + 4 / 3), "ms_ssim_db": (0.1 * (1 + 3) / 2, 10.5)}
"""Rate and quality of the first point, over the images that have a value."""


def first(curve: Curve, metric: str) -> tuple[float, float]:
    return curve.points[0]["bpp"], curve.points[0][metric]


def test_means_are_over_the_images_that_have_a_value():
    (curve,) = curves(rows())
    assert curve.points[0]["bpp"] == pytest.approx(0.1 * (1 + 3 + 9 + 27) / 4)
    assert (curve.points[0]["psnr"], curve.points[0]["ms_ssim_db"]) == (math.inf, None)
    for metric, right in RIGHT.items():
        assert curve.has(metric)
        assert first(curve.over(metric), metric) == pytest.approx(right)
    assert [(gap.metric, gap.about) for gap in gaps_of([curve])] == list(ABOUT.items())
    assert curve.over("bpp") is curve


def test_all_curves_of_a_plot_are_over_the_same_images():
    other = [row | {"psnr": 35.0 + i, "ms_ssim_db": 12.0} for i, row in enumerate(rows("webp"))]
    made = curves(rows() + other)
    (gap, _) = gaps_of(made)
    assert {point["images"] for curve in gap.curves for point in curve.points} == {3}
    drawn = rd_plot(made, "psnr")["data"]
    assert [(one["x"][0], one["y"][0]) for one in drawn] == [pytest.approx(first(c, "psnr")) for c in gap.curves]


def test_sentences_name_a_few_images():
    assert about_gaps("psnr", 1, "edcba") == "1 of 6 images: a, b, c and 2 more have no finite PSNR"


def test_the_terminal_has_a_block_for_them():
    blocks = [block.splitlines() for block in rd_table(rows()).split("\n\n")]
    assert blocks[0][0] == "kodak (4 images)"
    assert blocks[0][3].split() == ["jpeg", "q0", "1.0000", "-", "inf", "-", "-"]
    for block, (metric, about) in zip(blocks[1:], ABOUT.items(), strict=True):
        rate, quality = RIGHT[metric]
        assert block[0] == f"kodak, rates and quality over {about}"
        assert block[3].split() == ["jpeg", "q0", f"{rate:.4f}", "-", f"{quality:.2f}"]
    without = [row | {"psnr": 30.0, "ms_ssim_db": 10.0} for row in rows()]
    assert len(rd_table(without).split("\n\n")) == 1


def test_the_page_and_its_files_have_both(tmp_path: Path):
    folder = make_run(tmp_path / "run", rows())
    write_report([folder], tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    (curve,) = page.data["curves"]
    for metric, (rate, quality) in RIGHT.items():
        point = curve["over"][metric][0]
        assert (point["bpp"], point[metric]) == (pytest.approx(rate, rel=1e-5), pytest.approx(quality, rel=1e-5))
    assert [metric["key"] for metric in page.data["metrics"]] == ["psnr", "ms_ssim_db"]
    assert page.data["gaps"] == {"kodak": ABOUT}
    for about in ABOUT.values():
        assert f"Rates and quality over {about}" in (tmp_path / "r.html").read_text()


def test_figures_and_tables(tmp_path: Path):
    from nic_lightning.report.curves.folder import write_figures

    names = {path.name for path in write_figures(curves(rows()), {}, [], tmp_path)}
    assert {"rd_psnr_kodak.png", "rd_ms_ssim_db_kodak.png", "points_psnr_kodak.tex"} <= names
    for metric, (rate, quality) in RIGHT.items():
        line = next(csv.DictReader((tmp_path / f"points_{metric}_kodak.csv").read_text().splitlines()))
        assert (line["bpp"], line[metric]) == (f"{rate:.4f}", f"{quality:.2f}")
        assert line["images"] == ABOUT[metric][0]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_files_of_curves_hold_no_rate_of_other_images(tmp_path: Path, form: str):
    lpips = [row | {"lpips": 0.5 - 0.1 * int(row["label"][1])} for row in rows()]
    paths = write_curves(curves(lpips), tmp_path, form)
    read = {curve.name: curve for path in paths for curve in read_curves(path)}
    assert list(read) == ["jpeg", "jpeg, PSNR of 3 images", "jpeg, MS-SSIM of 2 images"]
    whole, psnr, ms_ssim = read.values()
    assert (whole.has("lpips"), whole.has("psnr"), whole.has("ms_ssim")) == (True, False, False)
    assert whole.points[0]["bpp"] == pytest.approx(1.0)
    assert first(psnr, "psnr") == pytest.approx(RIGHT["psnr"])
    assert first(ms_ssim, "ms_ssim_db") == pytest.approx(RIGHT["ms_ssim_db"])
    assert psnr.points[0]["images"] == 3
    assert len(write_curves(curves(rows()), tmp_path / "more", form)) == 2  # nothing else is left to write


def test_fronts_are_of_the_same_images():
    (curve,) = curves(rows())
    assert first(pareto(curve, "ms_ssim_db"), "ms_ssim_db") == pytest.approx(RIGHT["ms_ssim_db"])


def test_a_run_says_how_many_images_have_a_value(tmp_path: Path, capsys):
    folder = make_run(tmp_path / "run", rows())
    show(folder)
    out = capsys.readouterr().out
    assert "kodak: 2 of 4 images with a finite ms_ssim_db; nic report has their mean" in out
    assert "kodak: 3 of 4 images with a finite psnr" in out
    show(folder, as_json=True)
    point = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["results"][0]
    assert (point["psnr"], point["ms_ssim_db"], point["gaps"]) == ("inf", None, {"psnr": 3, "ms_ssim_db": 2})
    assert result_means([row for row in rows() if row["item"] == "large"])[0]["gaps"] == {}


def test_tables_of_deltas_say_how_many_images_they_are_of(tmp_path: Path):
    from nic_lightning.dashboard.tables import bd_table
    from nic_lightning.report.curves.folder import write_figures

    anchor, test = made = curves(rows() + rows("webp", 0.8))
    found = {row["metric"]: (row["images"], row["note"].split(" images:")[0]) for row in bd_rows(made)}
    assert found == {"psnr": (3, "Over 3 of 4"), "ms_ssim_db": (2, "Over 2 of 4")}
    write_figures(made, {"kodak": anchor}, [], tmp_path)
    lines = csv.DictReader((tmp_path / "bd_kodak.csv").read_text().splitlines())
    assert [(line["metric"], line["images"]) for line in lines] == [("psnr", "3"), ("ms_ssim_db", "2")]
    assert "webp, PSNR [dB]: Over 3 of 4 images: black has no finite PSNR." in str(bd_table(made, anchor))
    assert test.name == "webp"
