from __future__ import annotations

import os
from pathlib import Path

import pytest

from nic_lightning.codecs import exporting
from nic_lightning.errors import RunError
from nic_lightning.runs.index import owner as owners
from nic_lightning.runs.index.owner import owner, refuse_record
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.folder import claim, claim_for_evaluation

TRAINING = {"name": "a", "seed": 1, "trainer": {"max_steps": 9}}
JPEG = {"name": "jpeg", "codec": {"_target_": "a.Jpeg", "quality": 3}, "run": None}


def make(folder: Path, kind: str) -> Path:
    if kind == "export":
        folder.mkdir()
        (folder / exporting.DESCRIPTION).write_text("{}")
    elif kind == "sweep":
        RunRecord(folder / "seed=1").start(TRAINING, [])
    else:
        RunRecord(folder).start(TRAINING if kind == "training" else JPEG, [])
        RunRecord(folder).finish("finished")
    return folder


@pytest.mark.parametrize("kind", ["training", "evaluation", "export", "sweep"])
def test_each_is_known_and_no_other_start_gets_in(tmp_path: Path, kind: str) -> None:
    folder = make(tmp_path / "x", kind)
    assert owner(folder) == kind
    if kind != "training":
        with pytest.raises(RunError, match=r"x holds (an|the).*give name=NAME"):
            claim(folder, TRAINING)
    if kind != "evaluation":
        with pytest.raises(RunError, match="x holds"):
            claim_for_evaluation(folder, JPEG)
    if kind in ("export", "sweep"):
        with pytest.raises(RunError, match="x holds"):
            claim(folder, TRAINING, fresh=True)


def test_a_new_folder_and_one_with_other_things_are_free(tmp_path: Path) -> None:
    assert owner(tmp_path / "missing") is None
    (tmp_path / "notes.txt").touch()
    assert owner(tmp_path) is None
    assert claim(tmp_path, TRAINING) == "new"
    claim_for_evaluation(tmp_path, JPEG)


def test_fresh_moves_an_evaluation_aside(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", "evaluation")
    assert claim(folder, TRAINING, fresh=True) == "new"
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["x.replaced"]


def test_a_start_inside_a_run_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", "training")
    for start in (claim, claim_for_evaluation):
        with pytest.raises(RunError, match="lies inside the run"):
            start(folder / "seed=1", TRAINING)


def test_an_evaluation_goes_on_with_the_same_thing_only(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", "evaluation")
    claim_for_evaluation(folder, {**JPEG, "codec": {"_target_": "a.Webp"}})  # nothing was measured yet
    (folder / "results.parquet").touch()
    claim_for_evaluation(folder, JPEG)
    for other in ({"codec": {**JPEG["codec"], "quality": 4}}, {"codec": None, "run": "runs/a"}, {"flow": {"a": 1}}):
        with pytest.raises(RunError, match="results of something else"):
            claim_for_evaluation(folder, {**JPEG, **other})
    (folder / "config.yaml").unlink()
    with pytest.raises(RunError, match="unknown origin"):
        claim_for_evaluation(folder, JPEG)


def test_a_run_that_another_process_measures_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunRecord(tmp_path).start(JPEG, [])
    own = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own + 1)
    with pytest.raises(RunError, match=f"is being measured by process {own}"):
        claim_for_evaluation(tmp_path, JPEG)


@pytest.mark.parametrize("name", ["config.yaml", "results.parquet", "status.json"])
def test_no_command_writes_over_a_record(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "x", "training")
    (folder / "results.parquet").touch()
    with pytest.raises(RunError, match="belongs to the record of a training"):
        refuse_record(folder / name)
    refuse_record(folder / "report.html")
    refuse_record(tmp_path / name)


def test_the_names_are_those_of_who_writes_them() -> None:
    assert owners.EXPORT == exporting.DESCRIPTION
