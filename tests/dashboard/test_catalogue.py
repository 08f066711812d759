from __future__ import annotations

import json
import os
import shutil

import pytest

from nic_lightning import cli
from nic_lightning.dashboard.catalogue import Catalogue
from nic_lightning.runs.machine.process import this_process
from nic_lightning.runs.record.record import RunRecord, to_yaml


def make(folder, steps=3):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml({"tags": ["a"], "trainer": {"max_steps": 4}}))
    for step in range(steps):
        RunRecord(folder).log(step, {"train/loss": 1.0})
    RunRecord(folder).finish("finished")
    return folder


@pytest.fixture
def reads(monkeypatch):
    """Folders that were read."""
    from nic_lightning.dashboard import catalogue

    seen: list[str] = []
    read = catalogue.read_run
    monkeypatch.setattr(catalogue, "read_run", lambda folder, name: (seen.append(folder.name), read(folder, name))[1])
    return seen


def test_only_what_changed_is_read_and_told(tmp_path, reads):
    for name in ("one", "two", "sweep/three"):
        make(tmp_path / name)
    catalogue = Catalogue(tmp_path)
    assert catalogue.changes().rows == []
    catalogue.look()
    first = catalogue.changes()
    rows = {row["id"]: row for row in first.rows}
    assert rows.keys() == {"one", "two", "sweep/three"}
    assert (rows["one"]["step"], rows["one"]["progress"], rows["one"]["tags"]) == (3, 0.75, "a")
    assert (rows["one"]["sweep"], rows["sweep/three"]["sweep"]) == ("", "sweep")
    reads.clear()
    catalogue.look()
    assert reads == []
    assert catalogue.changes(first.version).rows == []
    RunRecord(tmp_path / "two").log(3, {"train/loss": 0.5})
    catalogue.look()
    assert reads == ["two"]
    second = catalogue.changes(first.version)
    assert [(row["id"], row["loss"]) for row in second.rows] == [("two", 0.5)]
    assert not second.reset
    shutil.rmtree(tmp_path / "one")
    catalogue.look()
    third = catalogue.changes(second.version)
    assert third.reset
    assert {row["id"] for row in third.rows} == {"two", "sweep/three"}


def test_a_page_from_before_a_restart_gets_everything(tmp_path):
    make(tmp_path / "one")
    catalogue = Catalogue(tmp_path)
    catalogue.look()
    for known in (None, "", "else:0", "x", f"{catalogue.changes().version}9" * 30, ":-1"):
        assert len(catalogue.changes(known).rows) == 1


def test_a_run_that_dies_is_seen_though_no_file_changes(tmp_path, monkeypatch):
    folder = make(tmp_path / "one")
    (folder / "status.json").write_text(json.dumps({"state": "running", "process": this_process()}))
    catalogue = Catalogue(tmp_path)
    catalogue.look()
    assert catalogue.rows()[0]["state"] == "running"
    monkeypatch.setattr("nic_lightning.runs.index.index.life", lambda status: "dead")
    catalogue.look()
    assert catalogue.rows()[0]["state"] == "interrupted"


def test_ids_are_all_that_names_a_folder(tmp_path):
    make(tmp_path / "runs" / "one")
    make(tmp_path / "secret")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "runs" / "two").mkdir()
    (tmp_path / "runs" / "two" / "config.yaml").symlink_to(tmp_path / "secret" / "config.yaml")
    RunRecord(tmp_path / "runs" / "two").finish("finished")
    odd = os.fsdecode(b"runs/\xff\xfe")
    make(tmp_path / odd)
    catalogue = Catalogue(tmp_path / "runs")
    catalogue.look()
    json.dumps(catalogue.rows(), allow_nan=False).encode()
    ids = [row["id"] for row in catalogue.rows()]
    assert set(catalogue.folders(ids)) == set(ids)
    assert len(ids) == 3
    wanted = ["..", "../secret", "/etc", str(tmp_path / "secret"), "link", "one/..", "one/", "%2e%2e/secret", "", "."]
    assert catalogue.folders(wanted) == {}
    two = next(row for row in catalogue.rows() if row["id"] == "two")
    assert two["tags"] == ""
    assert "link out of the run folder" in two["problem"]


def test_the_benchmark_runs(capsys):
    assert cli.main(["bench", "dashboard", "--runs", "3", "--lines", "4", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert "whole list, 3 runs" in out
    assert "curves of 3 runs" in out
