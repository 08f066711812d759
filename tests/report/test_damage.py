from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nic_lightning.metrics.names import RECONSTRUCTIONS, reconstruction_path
from nic_lightning.report.page.html import write_report
from nic_lightning.runs.record.channels import CHANNEL_RATES
from nic_lightning.runs.record.results import read_results, write_results
from tests.report.samples import classic_rows, learned_rows, make_run
from tests.report.test_html import Page


def _picture(run: Path) -> Path:
    return reconstruction_path(run / RECONSTRUCTIONS, "kodak", "a.png", "64")


def _cut_table(run: Path) -> None:
    data = (run / "results.parquet").read_bytes()
    (run / "results.parquet").write_bytes(data[: len(data) // 2])


def _nan(run: Path) -> None:
    rows = read_results(run / "results.parquet")
    rows[1]["psnr"] = float("nan")
    write_results(run / "results.parquet", rows)


def _link_outside(run: Path) -> None:
    (run / "metrics.jsonl").rename(run.parents[1] / "secret.jsonl")
    os.symlink(run.parents[1] / "secret.jsonl", run / "metrics.jsonl")


def _wrong_types(run: Path) -> None:
    table = pa.table({"codec": ["a"], "dataset": ["d"], "item": ["i"], "label": ["1"], "bpp": [["no", "number"]]})
    pq.write_table(table, run / "results.parquet")


def _huge_line(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 9, "x": ' + b"9" * 3_000_000 + b"}\n")


def _empty(run: Path) -> None:
    shutil.rmtree(run)
    run.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut parquet": (_cut_table, "is not a readable results table"),
    "empty jsonl": (lambda run: (run / "metrics.jsonl").write_bytes(b""), "metrics.jsonl holds no line"),
    "foreign JSON": (lambda run: (run / CHANNEL_RATES).write_text('{"a": [1]}'), "channel_rates.json is damaged"),
    "missing config": (lambda run: (run / "config.yaml").unlink(), "config.yaml is missing"),
    "symlink outside": (_link_outside, "metrics.jsonl is a link out of the run folder"),
    "NaN metrics": (_nan, "psnr is not a number in 1 of 4 rows"),
    "binary status": (lambda run: (run / "status.json").write_bytes(os.urandom(999)), "status.json is damaged"),
    "huge line": (_huge_line, "Left out 1 of 4 lines of metrics.jsonl: damaged."),
    "wrong column types": (_wrong_types, "is not a readable results table"),
    "missing picture": (lambda run: _picture(run).unlink(), "the picture of a.png at point 64 is missing"),
    "picture that is no PNG": (lambda run: _picture(run).write_bytes(b"no picture"), "64.png of a.png is not shown"),
    "empty folder": (_empty, "holds no run"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_is_named_and_the_others_are_shown(kind: str, tmp_path: Path) -> None:
    bad = make_run(tmp_path / "bad", learned_rows("bad"), pictures=True)
    good = make_run(tmp_path / "good", learned_rows() + classic_rows())
    spoil, sentence = DAMAGE[kind]
    spoil(bad)
    (problem,) = write_report([bad, good], tmp_path / "r.html")
    assert "bad" in problem
    assert sentence in problem
    page = Page(tmp_path / "r.html")
    assert problem in page.text
    assert {"modulated", "jpeg"} <= {curve["name"] for curve in page.data["curves"]}


@pytest.mark.slow
def test_all_damage_at_once_with_deep_and_hostile_values(tmp_path: Path) -> None:
    for i, (spoil, _) in enumerate(DAMAGE.values()):
        spoil(make_run(tmp_path / "runs" / f"bad{i}", learned_rows(f"bad{i}"), pictures=True))
    deep = make_run(tmp_path / "runs" / "deep", learned_rows("deep"))
    (deep / "config.yaml").write_text("a: " + "[" * 5000)
    (deep / CHANNEL_RATES).write_text("[" * 100_000)
    (deep / "environment.json").write_text("[" * 100_000)
    wide = make_run(tmp_path / "runs" / "wide", learned_rows("w" * 5000, item="i" * 5000))
    (wide / "config.yaml").write_text("\n".join(f"key{i}: {'v' * 300}" for i in range(3000)))
    (wide / CHANNEL_RATES).write_text(json.dumps([{"codec": "w"}] * 10))
    problems = write_report([tmp_path / "runs"], tmp_path / "r.html")
    text = "\n".join(problems)
    assert len(problems) >= len(DAMAGE) + 2
    assert all(sentence in text for kind, (_, sentence) in DAMAGE.items() if kind != "empty folder")
    page = Page(tmp_path / "r.html")
    assert max(len(curve["name"]) for curve in page.data["curves"]) <= 200
    assert (tmp_path / "r.html").stat().st_size < 12 * 2**20
