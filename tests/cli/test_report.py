from __future__ import annotations

from pathlib import Path

import pytest

from nic_lightning.cli import main
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for job in ("a", "b"):
        rows = [
            {"run": job, "codec": "cae", "experiment": "e", "dataset": "d", "item": "i", "label": job + str(k)}
            | {"index": k, "bpp": 0.1 * (k + 1), "psnr": 30.0 + k, "ms_ssim": 0.9, "ms_ssim_db": 10.0 + k}
            for k in range(3)
        ]
        write_results(tmp_path / "sweep" / job / "results.parquet", rows)
    return tmp_path / "sweep"


def test_the_report_is_written_and_its_place_printed_last(sweep: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "page.html"
    assert main(["report", str(sweep), "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Report: {out}"
    assert any("a2" in line and "32.00" in line for line in lines)
    assert out.read_text().lstrip().lower().startswith("<!doctype html")


def test_only_a_report_is_replaced(sweep: Path, tmp_path: Path, refused) -> None:
    out = tmp_path / "page.html"
    for _ in range(2):
        assert main(["report", str(sweep), "-o", str(out)]) == 0
    for content in (b"<!DOCTYPE html><p>by hand</p>", b"a photograph"):
        out.write_bytes(content)
        assert f"{out} exists and is no report" in refused("report", sweep, "-o", out)
        assert out.read_bytes() == content


def test_a_run_of_flow_features_has_curves_and_says_how_to_use_them(tmp_path: Path, capsys) -> None:
    record = RunRecord(tmp_path / "features")
    record.start({"task": {"_target_": "nic_lightning.tasks.flow_features.FlowFeaturesTask"}, "codec": None}, [])
    for step in range(2):
        record.log(step, {"train/loss": 1.0, "train/wins": 0.5} | {f"train/a{number}": 1.0 for number in range(9)})
    record.finish("finished")
    out = tmp_path / "page.html"
    assert main(["report", str(record.folder), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "problem" not in said
    assert f"--weights {record.folder} uses them" in said.splitlines()[0]
    page = out.read_text()
    assert "train/loss" in page
    assert "train/wins" in page
    assert "No run holds results" not in page


def test_no_run_no_report(tmp_path: Path, refused) -> None:
    assert str(tmp_path / "none") in refused("report", tmp_path / "none", "-o", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
