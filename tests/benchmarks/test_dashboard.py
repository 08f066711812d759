"""`nic bench dashboard` on a handful of runs: what it prints, never how it comes out."""

from __future__ import annotations

import re

from nic_lightning import cli
from nic_lightning.benchmarks.dashboard import make_runs
from nic_lightning.runs.index.index import find_runs


def test_it_times_the_list_and_the_curves_of_all_runs(capsys):
    assert cli.main(["bench", "dashboard", "--runs", "3", "--lines", "4", "--rounds", "1"]) == 0
    first, meanwhile, whole, unchanged, disk, curves = capsys.readouterr().out.splitlines()
    number = r"[\d.]+"
    assert re.fullmatch(rf"first list: .*; all read after {number} s", first)
    assert re.fullmatch(rf"requests meanwhile: median {number} ms, longest {number} ms", meanwhile)
    assert re.fullmatch(rf"whole list, 3 runs: {number} ms", whole)
    assert re.fullmatch(rf"nothing new: {number} ms", unchanged)
    assert re.fullmatch(rf"a look at the disk, in the background: {number} ms", disk)
    assert re.fullmatch(rf"curves of 3 runs: first {number} ms, then {number} ms", curves)


def test_its_runs_are_finished_ones_with_metrics(tmp_path):
    make_runs(tmp_path, 11, 4)
    runs = find_runs([tmp_path])
    assert sorted(run.folder.relative_to(tmp_path).as_posix() for run in runs)[::10] == [
        "sweep-000/run-0000",
        "sweep-001/run-0010",
    ]
    assert all(len((run.folder / "metrics.jsonl").read_text().splitlines()) == 4 for run in runs)
