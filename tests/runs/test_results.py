from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nic_lightning.errors import RunError
from nic_lightning.runs.record import results
from nic_lightning.runs.record.results import RESULT_COLUMNS, mean, read_results, write_results


def test_round_trip_with_extra_and_missing_columns(tmp_path):
    path = tmp_path / "deep" / "results.parquet"
    write_results(path, [{"run": "a", "bpp": 0.5, "epe_all": 1.5}, {"run": "b", "psnr": math.inf}])
    rows = read_results(path)
    assert [row["run"] for row in rows] == ["a", "b"]
    assert set(RESULT_COLUMNS) <= set(rows[0])
    assert (rows[0]["epe_all"], rows[1]["epe_all"], rows[0]["psnr"]) == (1.5, None, None)
    assert rows[1]["psnr"] == math.inf
    assert [p.name for p in path.parent.iterdir()] == ["results.parquet"]


def test_empty_table(tmp_path):
    write_results(tmp_path / "r.parquet", [])
    assert read_results(tmp_path / "r.parquet") == []


def test_a_value_that_does_not_fit_leaves_the_old_table(tmp_path):
    path = tmp_path / "r.parquet"
    write_results(path, [{"run": "a"}])
    with pytest.raises(RunError, match="'bpp'"):
        write_results(path, [{"bpp": "much"}])
    assert read_results(path)[0]["run"] == "a"
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_tables(tmp_path):
    path = tmp_path / "r.parquet"
    with pytest.raises(RunError, match="missing"):
        read_results(path)
    write_results(path, [{"run": "a", "bpp": 0.1}] * 100)
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[: len(whole) // 2], whole[:-5], b"x" * 1000):
        path.write_bytes(data)
        with pytest.raises(RunError, match="not a readable results table"):
            read_results(path)


def test_wrong_type_and_nested_columns(tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"bpp": ["much"]}), path)
    with pytest.raises(RunError, match="not a readable"):
        read_results(path)
    pq.write_table(pa.table({"bpp": [1], "odd": [[1, 2]]}), path)
    (row,) = read_results(path)
    assert row["bpp"] == 1.0
    assert "odd" not in row


def test_a_table_too_large_is_not_read(tmp_path, monkeypatch):
    write_results(tmp_path / "r.parquet", [{"run": "a"}] * 20)
    monkeypatch.setattr(results, "MAX_ROWS", 10)
    with pytest.raises(RunError, match="more than a results table may hold"):
        read_results(tmp_path / "r.parquet")


def test_mean():
    assert mean([1.0, None, 3.0, math.nan]) == 2.0
    assert mean([None]) is None
