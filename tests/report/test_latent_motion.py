"""Latent motion of runs: its table in files from anybody, its figures, and its section on the page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy import stats
from scipy.signal import savgol_filter

from nic_lightning.errors import RunError
from nic_lightning.report.curves.latent_motion import density, figures, means, smoothed, summary, summary_table
from nic_lightning.report.page.latent_motion import latent_motion_lines, latent_motion_section
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.latent_motion import (
    LATENT_MOTION,
    NUMBERS,
    TEXTS,
    read_latent_motion,
    select,
    write_latent_motion,
)

NETWORK = {"network": "tiny", "dataset": "two", "mask": "paper", "stride": 8.0}
ROWS = [
    NETWORK | {"study": "curves", "motion": "translate", "layer": layer, "item": item, "value": value, "nrmse": error}
    for layer, scale in (("frame", 0.0), ("_stem", 0.01))
    for item, more in (("a", 1.0), ("b", 3.0))
    for value, error in zip((-8.0, -4.0, 0.0, 4.0, 8.0), scale * more * np.array([1, 2, 0, 2, 1]), strict=True)
]
ROWS += [
    NETWORK | {"study": "histogram", "motion": "affine", "layer": "_stem", "item": "a", "nrmse": 0.01 * n}
    for n in range(1, 6)
]
CODEC = NETWORK | {"study": "codec_motion", "item": "a", "label": "64"}
ROWS += [CODEC | {"motion": "flow", "layer": "y", "way": way, "nrmse": 0.02} for way in ("still", "latent motion")]
ROWS += [
    CODEC | {"motion": motion, "way": "latent motion", "bpp": 0.2, "bpp_ideal": 0.15, "psnr": 30.0, "value": value}
    for motion, value in (("flow", None), ("shift", 0.0), ("shift", 1.0))
]
ROWS += [
    CODEC | {"motion": "shift", "layer": "y", "way": "latent motion", "nrmse": 0.1, "value": v} for v in (0.0, 1.0)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_latent_motion(tmp_path, ROWS)
    return tmp_path


def test_the_table_is_read_as_it_was_written(folder: Path) -> None:
    table = read_latent_motion(folder)
    assert set(table) == {*TEXTS, *NUMBERS}
    assert table["layer"].tolist() == [row.get("layer", "") for row in ROWS]
    assert np.array_equal(table["nrmse"], [row.get("nrmse", math.nan) for row in ROWS], equal_nan=True)
    assert len(select(table, study="curves", layer="_stem")["value"]) == 10
    with pytest.raises(ValueError, match="no columns \\['colour'\\]"):
        write_latent_motion(folder, [{"colour": 1}])


def test_means_and_summary(folder: Path) -> None:
    table = read_latent_motion(folder)
    values, mean, deviation = means(select(table, study="curves", layer="_stem"))
    assert values.tolist() == [-8, -4, 0, 4, 8]
    assert mean.tolist() == pytest.approx([0.02, 0.04, 0, 0.04, 0.02])
    assert deviation.tolist() == pytest.approx([0.01, 0.02, 0, 0.02, 0.01])
    curves = next(row for row in summary(table) if row["study"] == "curves" and row["layer"] == "_stem")
    assert (curves["images"], curves["rows"]) == (2, 10)
    assert curves["nrmse"] == pytest.approx(0.024)
    assert curves["nrmse_max"] == pytest.approx(0.06)
    assert "0.0240" in summary_table(table)
    assert summary_table(select(table, study="none")) == "Nothing was measured."


def test_smoothing_is_that_of_savitzky_and_golay() -> None:
    values = np.random.default_rng(0).random(121)
    none = np.zeros(121, bool)
    np.testing.assert_allclose(smoothed(values, none), savgol_filter(values, 9, 3), atol=1e-12)  # 7.5 % of 121
    some = none.copy()
    some[[0, 60]] = True
    assert smoothed(values, some)[60] == values[60]
    assert smoothed(values[:3], none[:3]).tolist() == values[:3].tolist()  # too few for a polynomial


def test_the_density_is_a_gaussian_kernel_estimate() -> None:
    samples, at = np.random.default_rng(0).random(50), np.linspace(0, 1, 7)
    np.testing.assert_allclose(density(samples, at), stats.gaussian_kde(samples)(at), rtol=1e-9)
    assert np.isfinite(density(np.full(3, 0.5), at)).all()


def test_each_figure_is_drawn_where_it_has_rows(folder: Path) -> None:
    table = read_latent_motion(folder)
    made = figures(table, folder / "latent_motion")
    assert set(made) == {"curves", "histogram", "codec_layers", "codec_shifts", "codec_rates"}
    for path in made.values():
        with Image.open(path) as image:
            assert min(image.size) > 200
    assert figures(select(table, study="none"), folder / "nothing") == {}
    assert not (folder / "nothing").exists()


def test_the_page_has_figures_and_means(folder: Path) -> None:
    figures(read_latent_motion(folder), folder / "latent_motion")
    run = Run(folder, "motion")
    page = latent_motion_section([run])
    assert page.count("data:image/png;base64,") == 5
    assert "<td>_stem</td>" in page
    assert ">0.0240<" in page
    assert "motion analyses latent motion" in latent_motion_lines([run])
    assert not run.problems


def test_runs_without_it_have_no_section(tmp_path: Path) -> None:
    assert latent_motion_section([Run(tmp_path, "other")]) == latent_motion_lines([Run(tmp_path, "other")]) == ""


def test_what_a_table_says_is_text(folder: Path) -> None:
    write_latent_motion(folder, [{**ROWS[0], "layer": "<b>x</b>", "network": "<i>"}])
    (folder / "latent_motion").mkdir()
    (folder / "latent_motion" / "curves.png").write_bytes(b"no picture")
    run = Run(folder, "motion")
    page = latent_motion_section([run])
    assert "<b>x" not in page
    assert "<i>" not in page
    assert "curves.png is not shown" in run.problems[0]


@pytest.mark.parametrize("kind", ["text", "columns", "types", "link"])
def test_a_foreign_table_is_a_problem_in_words(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    path = folder / LATENT_MOTION
    if kind == "text":
        path.write_bytes(b"PAR1 and nothing more")
    elif kind == "columns":
        pq.write_table(pa.table({"study": ["curves"]}), path)
    elif kind == "types":
        columns = {name: pa.array(["x"]) for name in (*TEXTS, *NUMBERS)}
        pq.write_table(pa.table(columns), path)
    else:
        outside = tmp_path_factory.mktemp("outside") / "table"
        path.rename(outside)
        path.symlink_to(outside)
    with pytest.raises(RunError, match=LATENT_MOTION):
        read_latent_motion(folder)
    run = Run(folder, "motion")
    assert latent_motion_section([run]) == ""
    assert "latent motion is not shown" in run.problems[0]


def test_a_table_that_claims_too_much_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nic_lightning.runs.record.latent_motion.MAX_ROWS", 3)
    with pytest.raises(RunError, match="more than an analysis writes"):
        read_latent_motion(folder)
