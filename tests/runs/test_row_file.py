from __future__ import annotations

import json
import math

import pytest

from nic_lightning.errors import RunError
from nic_lightning.runs.record import row_file
from nic_lightning.runs.record.row_file import RowFile

FILE = RowFile("rows.json", key=("codec", "dataset"), texts=("codec",), words=("note",))


def test_new_rows_replace_those_of_the_same_key(tmp_path):
    assert FILE.read(tmp_path) == []
    FILE.write(tmp_path, [{"codec": "a", "dataset": None, "value": 1.0}, {"codec": "b", "value": math.nan}])
    FILE.write(tmp_path, [{"codec": "a", "value": 2, "note": "few"}])
    assert FILE.read(tmp_path) == [{"codec": "b", "value": None}, {"codec": "a", "value": 2, "note": "few"}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        '{"schema": 2, "rows": []}',
        '{"schema": 1, "rows": {}}',
        '{"schema": 1, "rows": [3]}',
        '{"schema": 1, "rows": [{"value": 1}]}',
        '{"schema": 1, "rows": [{"codec": null}]}',
        '{"schema": 1, "rows": [{"codec": "a", "value": "<b>"}]}',
        '{"schema": 1, "rows": [{"codec": "a", "value": NaN}]}',
        '{"schema": 1, "rows": [{"codec": "a", "value": 1e300}]}',
        '{"schema": 1, "rows": [{"codec": "a", "value": true}]}',
        '{"schema": 1, "rows": [{"codec": "a", "value": [1]}]}',
        '{"schema": 1, "rows": [{"codec": "a", "note": 7}]}',
        "[" * 100_000,
        json.dumps({"schema": 1, "rows": [{"codec": "x" * 2000}]}),
        json.dumps({"schema": 1, "rows": [{"codec": "a", **{f"k{i}": 0 for i in range(100)}}]}),
    ],
)
def test_anything_else_is_damage_and_is_written_over(tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(RunError, match=r"^rows\.json is damaged\.$"):
        FILE.read(tmp_path)
    FILE.write(tmp_path, [{"codec": "a"}])
    assert FILE.read(tmp_path) == [{"codec": "a"}]


def test_a_large_or_linked_file_is_not_read(tmp_path, monkeypatch):
    outside = tmp_path / "outside.json"
    FILE.write(tmp_path, [{"codec": "a"}])
    (tmp_path / "rows.json").rename(outside)
    run = tmp_path / "run"
    run.mkdir()
    (run / "rows.json").symlink_to(outside)
    with pytest.raises(RunError):
        FILE.read(run)
    monkeypatch.setattr(row_file, "MAX_BYTES", 10)
    (tmp_path / "rows.json").write_bytes(outside.read_bytes())
    with pytest.raises(RunError):
        FILE.read(tmp_path)
