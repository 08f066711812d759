from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nic_lightning.commands.runs import list_runs
from nic_lightning.errors import RunError
from nic_lightning.report.page.reading import read_sources
from nic_lightning.runs.index.index import about_links, find_runs, read_run
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import write_results


def make_run(folder: Path) -> Path:
    record = RunRecord(folder)
    record.start({"name": folder.name, "seed": 1}, ["seed=1"])
    record.log(1, {"train/loss": 2.0})
    write_results(folder / "results.parquet", [{"run": folder.name, "bpp": 0.5}])
    record.finish("finished")
    return folder


def test_a_run_reads_back(tmp_path):
    (run,) = find_runs([make_run(tmp_path / "one")])
    assert (run.name, run.state, run.problems) == ("one", "finished", [])
    assert run.config == {"name": "one", "seed": 1}
    assert run.overrides == ["seed=1"]
    assert run.results()[0]["bpp"] == 0.5
    assert run.metrics()[0]["train/loss"] == 2.0


def test_sweeps_are_searched_and_each_run_is_found_once(tmp_path):
    sweep = tmp_path / "sweep"
    for name in ("b", "a", "deep/c"):
        make_run(sweep / name)
    make_run(sweep / "a" / "checkpoints")
    runs = find_runs([sweep, str(sweep / "b"), sweep])
    assert [run.name for run in runs] == ["sweep/a", "sweep/b", "sweep/deep/c"]


def test_links_are_not_followed(tmp_path):
    make_run(tmp_path / "outside")
    sweep = tmp_path / "sweep"
    make_run(sweep / "a")
    os.symlink(tmp_path, sweep / "up")
    os.symlink(sweep, sweep / "self")
    assert [run.name for run in find_runs([sweep])] == ["sweep/a"]


def test_missing_paths_and_empty_folders(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        find_runs([tmp_path / "gone"])
    with pytest.raises(RunError, match="holds no run"):
        find_runs([tmp_path])


def test_what_is_missing_is_named(tmp_path):
    folder = make_run(tmp_path / "one")
    (folder / "config.yaml").unlink()
    (folder / "status.json").write_text("{")
    (run,) = find_runs([folder])
    assert run.config is None
    assert run.state == "unknown"
    assert run.problems == ["one: config.yaml is missing.", "one: status.json is damaged."]
    assert run.results()


def test_empty_files_are_no_problem(tmp_path):
    folder = make_run(tmp_path / "one")
    (folder / "metrics.jsonl").write_text("")
    run = read_run(folder)
    assert run.metrics() == []
    (folder / "metrics.jsonl").unlink()
    (folder / "results.parquet").unlink()
    assert run.metrics() == []
    assert run.results() == []
    assert run.problems == []


def test_a_cut_table_is_named_once(tmp_path):
    folder = make_run(tmp_path / "one")
    table = folder / "results.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    run = read_run(folder)
    assert run.results() == run.results() == []
    assert len(run.problems) == 1
    assert "not a readable results table" in run.problems[0]


FILES = ["config.yaml", "overrides.yaml", "status.json", "metrics.jsonl", "results.parquet"]


@pytest.mark.parametrize("name", FILES)
def test_links_out_of_the_folder_are_not_read(tmp_path, name):
    folder = make_run(tmp_path / "one")
    target = tmp_path / name
    (folder / name).rename(target)
    os.symlink(target, folder / name)
    run = read_run(folder)
    run.metrics()
    run.results()
    assert any(name in p and "link out of the run folder" in p for p in run.problems), run.problems
    (folder / name).unlink()
    os.symlink(folder / name, folder / name)
    run = read_run(folder)
    run.metrics()
    run.results()
    assert any(name in p for p in run.problems)


@pytest.mark.parametrize(
    "text",
    [
        "- a list",
        "a: [1",
        "a: &x [1]\nb: *x",
        "!!python/object/apply:os.system ['true']",
        "[" * 1_500,
        "[" * 1_000_000,  # overflows libyaml's stack
        "{a: " * 200_000,
        "\x00",
    ],
)
def test_hostile_configurations(tmp_path, text):
    folder = make_run(tmp_path / "one")
    (folder / "config.yaml").write_text(text)
    (folder / "overrides.yaml").write_text(text)
    run = read_run(folder)
    assert run.config is None
    assert "one: config.yaml is damaged." in run.problems


def test_hidden_folders_are_not_searched(tmp_path):
    make_run(tmp_path / "one")
    make_run(tmp_path / ".removed" / "two")
    assert [run.name.rpartition("/")[2] for run in find_runs([tmp_path])] == ["one"]


def test_a_configuration_too_large_is_not_read(tmp_path):
    folder = make_run(tmp_path / "one")
    (folder / "config.yaml").write_text("#" * (2**20 + 1))
    assert any("longer than" in p for p in read_run(folder).problems)


def test_directories_in_the_place_of_files(tmp_path):
    folder = tmp_path / "one"
    for name in FILES:
        (folder / name).mkdir(parents=True)
    run = read_run(folder)
    assert run.metrics() == run.results() == []
    assert len(run.problems) == 5


def test_imports_without_torch():
    modules = "nic_lightning.runs.index.index, nic_lightning.runs.record.record, nic_lightning.runs.loggers.wandb"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_runs_of_one_name_get_as_much_of_their_paths_as_tells_them_apart(tmp_path):
    folders = [make_run(tmp_path / place) for place in ("x/a/mod", "x/b/mod", "y/a/mod", "other", "z/a/mod")]
    runs = find_runs([*folders[:4], tmp_path / "z" / "a"])
    assert [run.name for run in runs] == ["x/a/mod", "b/mod", "y/a/mod", "other", "z/a/mod"]
    assert [run.results()[0]["run"] for run in runs] == [run.name for run in runs]


def test_a_problem_names_the_run_as_the_rest_does(tmp_path):
    for place in ("a", "b"):
        (make_run(tmp_path / place / "mod") / "config.yaml").write_text("{")
    assert [run.problems for run in find_runs([tmp_path / "a" / "mod", tmp_path / "b" / "mod"])] == [
        ["a/mod: config.yaml is damaged."],
        ["b/mod: config.yaml is damaged."],
    ]


def test_links_to_folders_are_named_with_the_way_out(tmp_path, capsys):
    make_run(tmp_path / "disk" / "a")
    (tmp_path / "runs").mkdir()
    os.symlink(tmp_path / "disk" / "a", tmp_path / "runs" / "a")
    sentence = f"{tmp_path}/runs/a is a link, which is not followed: name {tmp_path}/disk/a."
    with pytest.raises(RunError, match=f"holds no run.*{re.escape(sentence)}$"):
        find_runs([tmp_path / "runs"])
    make_run(tmp_path / "runs" / "b")
    assert about_links([tmp_path / "runs", tmp_path / "runs" / "b", tmp_path / "none"]) == [sentence]
    list_runs(tmp_path / "runs")
    assert capsys.readouterr().err == f"{sentence}\n"
    assert read_sources([tmp_path / "runs"]).problems == [sentence]
    assert [run.name for run in find_runs([tmp_path / "runs" / "a"])] == ["a"]
