"""The gathering of experiments/mae_kodak_small, on runs made of numbers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from nic_lightning.errors import UserError
from nic_lightning.metrics.bd import bd_rate
from nic_lightning.report.experiments.experiment import Experiment
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "mae_kodak_small"
POINTS = {64: (0.1, 28.0), 256: (0.2, 30.0), 1024: (0.4, 32.5), 4096: (0.8, 35.0)}


@pytest.fixture(scope="module")
def collect() -> Experiment:
    return program("mae_kodak_small").EXPERIMENT


def rows(codec: str, scale: float = 1.0, lambdas: tuple[int, ...] = tuple(POINTS), **more: Any) -> list[dict[str, Any]]:
    """Two images at each lambda, `scale` times the rate; and one image of a set that does not count."""
    made = []
    for lmbda in lambdas:
        rate, psnr = POINTS[lmbda]
        for item, shift in (("a", -1.0), ("b", 1.0)):
            row = {"codec": codec, "item": item, "label": str(lmbda), "bpp": rate * scale, "psnr": psnr + shift}
            made.append({"run": "x", "experiment": "x", "dataset": "kodak", "ms_ssim_db": psnr / 2, **row, **more})
    return [*made, {**made[0], "dataset": "embedded", "bpp": 9.0}]


def make_run(folder: Path, table: list[dict[str, Any]], state: str = "finished") -> None:
    record = RunRecord(folder)
    record.start({"name": folder.name}, [])
    write_results(folder / "results.parquet", table)
    record.finish(state)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for lmbda in POINTS:
        make_run(root / "independent_kodak_small" / f"codec.lmbda={lmbda}", rows("cae", lambdas=(lmbda,)))
    make_run(root / "modulated_kodak_small", rows("modulated", 1.1))
    make_run(root / "bottleneck_scaling_kodak_small", rows("bottleneck_scaling", 1.2, (1024, 4096)), "failed")
    make_run(root / "jpeg", rows("jpeg", 3.0, quality=50.0))
    return root


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_points_and_rates_are_those_of_the_runs(collect: Experiment, runs: Path, tmp_path: Path) -> None:
    notes = collect.collect(runs, tmp_path / "out")
    assert notes == [
        "modulated, linear: not run.",
        "bottleneck_scaling_kodak_small: failed.",
        "conditional: not run.",
        "webp: not run.",
    ]
    points = table(tmp_path / "out" / "measured.csv")
    assert [p["point"] for p in points if p["codec"] == "independent"] == ["64", "256", "1024", "4096"]
    assert {p["images"] for p in points} == {"2"}
    first = next(p for p in points if p["codec"] == "modulated")
    assert (float(first["bpp"]), float(first["psnr"]), first["lpips"]) == (0.11, 28.0, "")
    rates = {row["codec"]: row for row in table(tmp_path / "out" / "bd_rate.csv")}
    assert rates.keys() == {"modulated", "bottleneck_scaling", "jpeg"}
    assert float(rates["modulated"]["bd_rate"]) == pytest.approx(10, abs=0.01)
    assert float(rates["bottleneck_scaling"]["bd_rate"]) == pytest.approx(20, abs=0.01)
    assert (float(rates["bottleneck_scaling"]["overlap_low"]), rates["jpeg"]["overlap_high"]) == (32.5, "35.0")
    picture = tmp_path / "out" / "rate_distortion.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 150_000


def test_the_tables_of_the_readme_are_filled_twice_alike(collect: Experiment, runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect.collect(runs, out)
    text = (out / "README.md").read_text()
    assert "| independent | anchor | anchor | - | 0.079 … 1.010 bpp | 0.100 … 0.800 bpp |" in text
    assert "| modulated | -0.0 % | +10.0 % | 28.00 … 35.00 dB | 0.096 … 0.976 bpp | 0.110 … 0.880 bpp |" in text
    assert "| bottleneck_scaling | +6.3 % | +20.0 % |" in text
    assert "| modulated | 256 | 0.2200 | - | 30.00 dB | 15.00 dB | - | 2 |" in text
    assert "Missing: modulated, linear: not run. bottleneck_scaling_kodak_small: failed. conditional: not" in text
    collect.collect(runs, out)
    assert (out / "README.md").read_text() == text
    assert text.split("<!--")[0] == (FOLDER / "README.md").read_text().split("<!--")[0]


def test_a_bd_rate_that_cannot_be_told_is_explained(collect: Experiment, runs: Path, tmp_path: Path) -> None:
    shutil.rmtree(runs / "independent_kodak_small")
    collect.collect(runs, tmp_path / "out")
    rates = table(tmp_path / "out" / "bd_rate.csv")
    assert {row["bd_rate"] for row in rates} == {""}
    assert all("not measured yet" in row["problem"] for row in rates)
    assert "| modulated | -0.0 % | none: The anchor, independent," in (tmp_path / "out" / "README.md").read_text()


def test_nothing_to_gather_is_one_sentence(collect: Experiment, tmp_path: Path, capsys) -> None:
    assert collect.main([str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "holds no results on kodak yet" in error
    assert "independent: not run." in error
    assert not (tmp_path / "out").exists()


def test_a_readme_without_its_marks_is_refused(collect: Experiment, runs: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# Mine\n")
    with pytest.raises(UserError, match="lacks the comments"):
        collect.collect(runs, tmp_path)
    assert readme.read_text() == "# Mine\n"


def test_the_readme_says_what_the_committed_numbers_say(collect: Experiment) -> None:
    with (FOLDER / "measured.csv").open() as file:
        table = list(csv.DictReader(file))
    points = {
        name: [{k: float(row[k]) for k in ("bpp", "psnr")} for row in table if row["codec"] == name]
        for name in ("independent", "modulated", "modulated, linear", "bottleneck_scaling", "conditional")
    }
    for name, curve in points.items():
        assert len(curve) in (0, 4), name
        for key in ("bpp", "psnr"):
            values = [point[key] for point in curve]
            assert values == sorted(values), f"{name}: {key} falls where lambda rises"
    lowest = {name: curve[0]["bpp"] for name, curve in points.items() if curve}
    assert lowest["bottleneck_scaling"] > lowest["modulated"]
    rates = {name: bd_rate(points["independent"], points[name]).value for name in ("modulated", "bottleneck_scaling")}
    assert rates["modulated"] <= 2
    assert rates["bottleneck_scaling"] > rates["modulated"]
    readme = (FOLDER / "README.md").read_text()
    with (FOLDER / "bd_rate.csv").open() as file:
        for row in csv.DictReader(file):
            if not points.get(row["codec"]):
                continue
            again = bd_rate(points[row["anchor"]], points[row["codec"]]).value
            assert again == pytest.approx(float(row["bd_rate"]), abs=0.06)
            assert f"{float(row['bd_rate']):+.1f} %" in readme
