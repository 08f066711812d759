from __future__ import annotations

import pytest

from nic_lightning.errors import UserError
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.index.tags import change_tags, tags_of
from nic_lightning.runs.record.record import RunRecord, to_yaml


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text(to_yaml({"tags": ["small", "kodak"]}))
    RunRecord(tmp_path).finish("finished")
    return tmp_path


def test_tags_begin_with_those_of_the_config(folder):
    assert tags_of(read_run(folder)) == ["small", "kodak"]
    assert change_tags(read_run(folder), ["+paper", "-small", "+paper", "-never"]) == ["kodak", "paper"]
    assert tags_of(read_run(folder)) == ["kodak", "paper"]
    RunRecord(folder).start({"tags": ["small"]}, [])
    assert tags_of(read_run(folder)) == ["kodak", "paper"]


@pytest.mark.parametrize("change", ["paper", "+", "+a b", "+a,b", "++a", "+" + "x" * 65, "+\x1b[2J"])
def test_what_is_no_change(folder, change):
    with pytest.raises(UserError, match="no change of tags"):
        change_tags(read_run(folder), ["+fine", change])
    assert not (folder / "tags.json").exists()


def test_a_damaged_file_is_named(folder):
    (folder / "tags.json").write_text("{")
    run = read_run(folder)
    assert tags_of(run) == ["small", "kodak"]
    assert any("tags.json is damaged" in problem for problem in run.problems)
