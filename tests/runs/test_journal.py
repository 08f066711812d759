from __future__ import annotations

import json

import pytest

from nic_lightning.metrics.measured import Measured
from nic_lightning.runs.record import journal
from nic_lightning.runs.record.journal import Journal

ONE = Measured(
    [{"codec": "jpeg", "item": "a", "label": "q5", "bpp": 0.1234567890123, "index": 0}], [("q5", "y", [0.5])]
)
TWO = Measured(refused="too large")


def test_what_was_kept_is_found_by_the_next_process(tmp_path):
    first = Journal(tmp_path / "run", rank=1)
    assert first.find("one") is None
    first.keep("one", ONE)
    first.keep("two", TWO)
    again = Journal(tmp_path / "run")
    assert (again.find("one"), again.find("two"), again.find("three")) == (ONE, TWO, None)
    assert (first.found_before, again.found_before) == (0, 2)
    again.done()
    assert not list((tmp_path / "run").iterdir())


def test_a_line_that_a_kill_cut_is_ignored_and_the_next_one_is_not(tmp_path):
    Journal(tmp_path).keep("one", ONE)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for cut in (1, 10, len(whole) - 2):
        path.write_bytes(whole + whole.replace(b"one", b"two")[:cut])
        resumed = Journal(tmp_path)
        assert (resumed.find("one"), resumed.find("two")) == (ONE, None)
        resumed.keep("three", TWO)
        assert Journal(tmp_path).find("three") == TWO


GOOD = {"key": "k", "rows": [{"item": "a", "bpp": 1.0}], "rates": [["64", "y", [0.1]]], "refused": None}


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        3,
        GOOD | {"key": 3},
        GOOD | {"rows": [{"item": 3}]},
        GOOD | {"rows": [{"item": "a", "bpp": "x"}]},
        GOOD | {"rows": [{"other": 1}]},
        GOOD | {"rows": {"item": "a"}},
        GOOD | {"rates": [["64", "y"]]},
        GOOD | {"rates": [["64", "y", ["x"]]]},
        GOOD | {"rates": [["64", "y", [float("nan")]]]},
        GOOD | {"refused": 1},
    ],
)
def test_lines_that_nobody_kept_are_ignored(tmp_path, wrong):
    path = tmp_path / journal.NAME.format(rank=0)
    path.write_text(json.dumps(wrong))
    assert Journal(tmp_path).found_before == 0
    path.write_text(json.dumps(GOOD))
    assert Journal(tmp_path).found_before == 1


def test_huge_files_and_links_are_not_read(tmp_path, monkeypatch):
    Journal(tmp_path / "other").keep("one", ONE)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / journal.NAME.format(rank=0)).symlink_to(next((tmp_path / "other").iterdir()))
    assert Journal(tmp_path / "run").found_before == 0
    monkeypatch.setattr(journal, "MAX_BYTES", 10)
    assert Journal(tmp_path / "other").found_before == 0
