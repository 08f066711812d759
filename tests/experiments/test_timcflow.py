"""The folders of optical flow: what is published, what was measured, and that the READMEs say so."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import pytest

from nic_lightning.report.experiments.flow_experiment import COMPLETE, FlowExperiment
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
FOLDERS = [
    EXPERIMENTS / f"timcflow_{name}"
    for name in ("benchmark", "wta", "discrete", "strategies", "full", "time", "figures")
]


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
    methods = {"ours": ("a", "kept"), "theirs": ("b", "flow")}
    return FlowExperiment(home, methods, columns, averages=("sequence", "pooled"), beside=("middlebury",))


def row(scene: str, epe: float, count: int, **more) -> dict:
    same = {"run": "a", "codec": "a", "dataset": "sintel_final", "item": scene, "label": "kept", "density": 50.0}
    return same | {"scene": scene, "epe_all": epe, "n_all": count, "time": 2.0} | more


def test_runs_become_a_table_beside_the_published_values(small, tmp_path):
    runs = tmp_path / "runs"
    for dataset in ("sintel_final", "middlebury", "kitti2015"):
        folder = runs / dataset / "a"
        record = RunRecord(folder)
        record.start({}, [])
        rows = [row("x", 1.0, 100, frames=2), row("x", 4.0, 50), row("y", 10.0, 10, time=9.0)]
        rows += [row("y", 99.0, 10, label="flow")]
        if dataset == "middlebury":
            rows = [row("Grove2", 2.0, 10, frames=2), row("Venus", 50.0, 10)]  # Venus is not of the six
        write_results(folder / "results.parquet", [line | {"dataset": dataset} for line in rows])
        record.finish("finished")
    out = tmp_path / "out"
    assert small.collect(runs, out) == ["theirs: not run."]
    measured = {line["dataset"]: line for line in lines(out / "measured.csv")}
    assert measured.keys() == {"sintel_final", "middlebury"}  # nobody asked for KITTI
    sintel = measured["sintel_final"]
    assert (sintel["images"], sintel["without_previous"], sintel["time"]) == ("3", "1", "2.0")
    assert float(sintel["epe_all"]) == pytest.approx((300 / 150 + 10) / 2)
    assert float(sintel["epe_all_over_pixels"]) == pytest.approx(400 / 160)
    assert float(sintel["density"]) == pytest.approx(50)
    assert (measured["middlebury"]["images"], measured["middlebury"]["epe_all"]) == ("1", "2.0")
    text = (out / "README.md").read_text()
    assert "published on the whole set, measured on 3 of 1,041 images, 1 of them without a frame before" in text
    assert "| all, measured over sequences | density %, measured | s, measured | all, measured over pixels |" in text
    assert "| ours | 1.5 | 40 | - | 6.00 | 50.00 | 2.00 | 2.50 |" in text
    assert "nothing published, measured on 1 of 6 images, without a frame before: three frames are two." in text
    assert "| ours | 2.00 | 50.00 | 2.00 | 2.00 |" in text
    assert "Missing: theirs: not run." in text
    assert (small.home / "README.md").read_text().count("|") == 0


def test_two_runs_of_a_method_on_one_data_set_are_not_averaged(small, tmp_path, capsys):
    for place, error in (("first", 1.0), ("second", 3.0)):
        write_results(tmp_path / "runs" / place / "a" / "results.parquet", [row("x", error, 100)])
    assert small.main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "ours: both first/a and second/a hold results on sintel_final.\n"


def test_without_results_there_is_a_sentence(small, tmp_path, capsys):
    assert small.main([str(tmp_path / "none")]) == 2
    assert "holds no results yet. ours: not run." in capsys.readouterr().err


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_readmes_have_every_number(folder):
    experiment = runpy.run_path(str(folder / "collect.py"))["EXPERIMENT"]
    assert experiment.home == folder
    measured = [
        {key: value if key in ("method", "dataset") else float(value) if value else None for key, value in line.items()}
        for line in lines(folder / "measured.csv")
    ]
    table = experiment.table(measured, [])
    assert table in (folder / "README.md").read_text()
    published = experiment.published()
    assert {line["dataset"] for line in [*published, *measured]} <= set(COMPLETE)
    assert {line["method"] for line in measured} <= set(experiment.methods)
    for line in published:
        assert all(value in table for value in list(line.values())[2:])
    for line in measured:
        if line["images"] < COMPLETE[line["dataset"]]:
            assert f"of {COMPLETE[line['dataset']]:,} images" in table
    if folder.name == "timcflow_wta":
        sequences = experiment.sequences_table(folder)
        assert sequences in (folder / "README.md").read_text()
        assert "| alley-1 | 1 of 49 | 4.36 |" in sequences


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
    firsts = [key for key in benchmark["DCFlow"] if key not in ("method", "dataset")]
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


def test_what_refinement_left_of_it_is_as_the_readme_says():
    folder = EXPERIMENTS / "timcflow_full"
    measured = {line["method"]: line for line in lines(folder / "measured.csv")}
    two, three = measured["DCFlow (two frames), refined here"], measured["strategy 3, refined here"]
    ahead, behind = (100 * (1 - float(three[key]) / float(two[key])) for key in ("epe_all", "epe_occ"))
    said = " ".join((folder / "README.md").read_text().split())
    assert f"only {ahead:.0f} % ahead" in said
    assert f"and {-behind:.0f} % behind them where pixels are occluded" in said
    refined = {name: float(line["epe_all"]) for name, line in measured.items() if "refined" in name}
    assert min(refined, key=lambda name: refined[name]) == "strategy 3, refined here"
