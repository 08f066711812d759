from __future__ import annotations

import math
import os
import random
from itertools import pairwise

import pytest

from nic_lightning.runs.index import growing_files as module
from nic_lightning.runs.index.growing_files import MAX_POINTS, GrowingCurves, Series
from nic_lightning.runs.record.record import RunRecord


@pytest.fixture
def reads(monkeypatch):
    """Lines that were parsed."""
    seen: list[bytes] = []
    parse = module.parse_line
    monkeypatch.setattr(module, "parse_line", lambda raw: (seen.append(raw), parse(raw))[1])
    return seen


def test_a_file_that_grows_is_read_once(tmp_path, reads):
    record, curves = RunRecord(tmp_path), GrowingCurves(tmp_path)
    curves.poll()
    assert curves.series == {}
    for step in range(100):
        record.log(step, {"train/loss": step / 2, "train/bpp@64": math.nan if step == 7 else 1.0})
    curves.poll()
    version = curves.version
    with record.metrics_path.open("ab") as file:
        file.write(b'{"step": 100, "time": 1.5, "train/lo')
    curves.poll()
    assert (len(reads), curves.version) == (100, version)
    assert curves.behind > 0
    with record.metrics_path.open("ab") as file:
        file.write(b'ss": 7}\nno line\n[1]\n{"step": true}\n')
    curves.poll()
    assert len(reads) == 104
    assert curves.behind == 0
    steps, times, values = curves.series["train/loss"].points()
    assert steps == list(range(101))
    assert (times[-1], values[-1], values[50]) == (1.5, 7, 25)
    assert math.isnan(curves.series["train/bpp@64"].points()[2][7])


def test_a_file_that_a_resumed_run_cut_is_read_anew(tmp_path):
    record, curves = RunRecord(tmp_path), GrowingCurves(tmp_path)
    for step in range(10):
        record.log(step, {"a": step})
    curves.poll()
    record.cut_metrics(record.metrics_bytes() // 2)
    for step in range(5, 30):  # longer than before when the next poll comes
        record.log(step, {"a": -step})
    curves.poll()
    steps, _, values = curves.series["a"].points()
    assert steps == list(range(30))
    assert values == [0, 1, 2, 3, 4, *range(-5, -30, -1)]
    os.replace(tmp_path / "metrics.jsonl", tmp_path / "old")
    curves.poll()
    assert len(curves.series["a"].points()[0]) == 30
    RunRecord(tmp_path).log(3, {"b": 1})
    curves.poll()
    assert list(curves.series) == ["b"]


def test_a_large_file_is_read_in_parts(tmp_path):
    record, curves = RunRecord(tmp_path), GrowingCurves(tmp_path)
    for step in range(200):
        record.log(step, {"a": step})
    polls = 0
    while polls == 0 or curves.behind:
        curves.poll(budget=1000)
        polls += 1
    assert 5 <= polls < 100
    assert curves.series["a"].points()[0] == list(range(200))


@pytest.mark.parametrize("count", [1, MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 5 * MAX_POINTS + 3])
def test_a_long_curve_is_thinned_evenly_and_keeps_its_ends(count):
    series = Series()
    for step in range(count):
        series.add(step, step / 2, -step)
    steps, times, values = series.points()
    assert len(steps) <= MAX_POINTS
    assert len(steps) >= min(count, MAX_POINTS // 2 - 1)
    assert (steps[0], steps[-1]) == (0, count - 1)
    assert {b - a for a, b in pairwise(steps[:-1])} <= {series.stride}
    assert times == [step / 2 for step in steps]
    assert values == [-step for step in steps]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 3_000_000,
        b"[" * 3_000_000 + b"\n",
        b'{"step": 1' + b"0" * 400 + b', "a": 1}\n',
        b'{"step": 1, "a": 1' + b"0" * 5000 + b"}\n",
        b"".join(b'{"step": 1, "%d": 1}\n' % i for i in range(5000)),
        random.Random(0).randbytes(100_000),
    ],
    ids=range(6),
)
def test_hostile_files_cost_little(tmp_path, content):
    (tmp_path / "metrics.jsonl").write_bytes(content + b'\n{"step": 5, "good": 1}\n')
    curves = GrowingCurves(tmp_path)
    curves.poll()
    curves.poll()
    assert len(curves.series) <= module.MAX_KEYS
    assert curves.behind == 0
    if len(curves.series) < module.MAX_KEYS:
        assert curves.series["good"].points()[0] == [5]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    RunRecord(tmp_path).log(1, {"secret": 1})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").symlink_to(tmp_path / "metrics.jsonl")
    curves = GrowingCurves(tmp_path / "run")
    curves.poll()
    assert curves.series == {}
