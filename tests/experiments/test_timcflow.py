"""The folders of optical flow: what is published, what was measured, and that the READMEs say so."""

from __future__ import annotations

import csv
import re
import runpy
from pathlib import Path

import pytest

from nic_lightning.report.flow_experiment import COMPLETE, FlowExperiment
from nic_lightning.runs.record import RunRecord
from nic_lightning.runs.results import write_results

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
FOLDERS = [EXPERIMENTS / f"timcflow_{name}" for name in ("wta", "discrete", "strategies", "full", "time")]


def lines(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small(tmp_path: Path) -> FlowExperiment:
    """Two methods in the runs of two data sets, one of them not published."""
    home = tmp_path / "home"
    home.mkdir()
    marks = "<!-- compared by collect.py: begin -->\n\n<!-- compared by collect.py: end -->\n"
    (home / "README.md").write_text(f"# A table\n\n{marks}")
    (home / "published.csv").write_text("method,dataset,epe_all,density\nours,sintel_final,1.5,40\n")
    columns = {"epe_all": "all", "density": "density %", "time": "s"}
    return FlowExperiment(home, {"ours": ("a", "kept"), "theirs": ("b", "flow")}, columns)


def row(scene: str, epe: float, count: int, **more) -> dict:
    same = {"run": "a", "codec": "a", "dataset": "sintel_final", "item": scene, "label": "kept", "density": 50.0}
    return same | {"scene": scene, "epe_all": epe, "n_all": count, "time": 2.0} | more


def test_runs_become_a_table_beside_the_published_values(small, tmp_path):
    runs = tmp_path / "runs"
    for name, dataset in (("a", "sintel_final"), ("a", "kitti2015")):
        folder = runs / dataset / name
        record = RunRecord(folder)
        record.start({}, [])
        rows = [row("x", 1.0, 100), row("x", 4.0, 50), row("y", 10.0, 10), row("y", 99.0, 10, label="flow")]
        write_results(folder / "results.parquet", [line | {"dataset": dataset} for line in rows])
        record.finish("finished")
    out = tmp_path / "out"
    assert small.collect(runs, out) == ["theirs: not run."]
    measured = {line["dataset"]: line for line in lines(out / "measured.csv")}
    assert measured["sintel_final"]["images"] == "3"
    assert float(measured["sintel_final"]["epe_all"]) == pytest.approx((300 / 150 + 10) / 2)
    assert float(measured["kitti2015"]["density"]) == pytest.approx(50)
    text = (out / "README.md").read_text()
    assert "measured on 3 of 1,041 images" in text
    assert "| ours | 1.5 | 40 | - | 6.00 | 50.00 | 2.00 |" in text
    assert "Missing: theirs: not run." in text
    assert (small.home / "README.md").read_text().count("|") == 0


def test_without_results_there_is_a_sentence(small, tmp_path, capsys):
    assert small.main([str(tmp_path / "none")]) == 2
    assert "holds no results yet. ours: not run." in capsys.readouterr().err


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_readmes_have_every_number(folder):
    experiment = runpy.run_path(str(folder / "collect.py"))["EXPERIMENT"]
    assert experiment.home == folder
    text = (folder / "README.md").read_text()
    published = lines(folder / "published.csv")
    measured = lines(folder / "measured.csv") if (folder / "measured.csv").exists() else []
    assert measured or "not measured here" in text
    assert {line["dataset"] for line in [*published, *measured]} <= set(COMPLETE)
    for line in published:
        values = [line.get(column) or "-" for column in experiment.columns]
        assert f"| {line['method']} | {' | '.join(values)} |" in text
    for line in measured:
        values = [line[column] for column in experiment.columns]
        told = " | ".join(f"{float(value):.2f}" if value else "-" for value in values)
        assert re.search(rf"^\| {re.escape(line['method'])} \|.*\| {re.escape(told)} \|$", text, re.MULTILINE)
        assert set(experiment.methods) >= {line["method"]}
        if int(line["images"]) < COMPLETE[line["dataset"]]:
            assert f"of {COMPLETE[line['dataset']]:,} images" in text


def test_published_gains_are_the_thesis_own():
    """What section 5.6 says in words: 32 % and 16 %, up to 50 % and up to 9 %."""
    wta = {line["method"]: line for line in lines(EXPERIMENTS / "timcflow_wta" / "published.csv")}
    discrete = lines(EXPERIMENTS / "timcflow_discrete" / "published.csv")
    sintel = {line["method"]: line for line in discrete if line["dataset"] == "sintel_final"}

    def gain(table: dict, column: str) -> float:
        return 1 - float(table["three frames"][column]) / float(table["two frames"][column])

    assert gain(wta, "epe_occ") == pytest.approx(0.32, abs=0.005)
    assert gain(wta, "epe_noc") == pytest.approx(0.16, abs=0.005)
    assert gain(sintel, "epe_occ") == pytest.approx(0.50, abs=0.005)
    assert gain(sintel, "epe_noc") == pytest.approx(0.09, abs=0.005)
    benchmark = {line["method"]: line for line in lines(EXPERIMENTS / "timcflow_benchmark" / "published.csv")}
    firsts = [key for key in benchmark["DCFlow"] if key != "method"]
    best = {key: min(benchmark, key=lambda name: float(benchmark[name][key])) for key in firsts}
    assert [key for key, name in best.items() if name == "TIMCflow"] == ["epe_noc", "d10_60", "d60_140"]


def test_what_the_third_frame_gave_here_is_as_the_readme_says():
    folder = EXPERIMENTS / "timcflow_discrete"
    measured = {line["method"]: line for line in lines(folder / "measured.csv") if line["dataset"] == "sintel_final"}
    gains = [
        100 * (1 - float(measured["three frames"][key]) / float(measured["two frames"][key]))
        for key in ("epe_occ", "epe_noc")
    ]
    said = " ".join((folder / "README.md").read_text().split())
    assert f"takes {gains[0]:.0f} % off the errors of occluded pixels and {gains[1]:.0f} % off those of visible" in said
