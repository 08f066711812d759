"""The table of experiments/point_clouds, gathered from small run folders."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nic_lightning.errors import UserError
from nic_lightning.report.experiments.gathering import read_csv
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "point_clouds"


def _run(folder: Path, seed: int, state: str, bits: list[float], points: int = 256) -> None:
    folder.mkdir()
    (folder / "status.json").write_text(json.dumps({"state": state}))
    codec = {"size": "micro", "lmbda": 10.0, "points": points}
    (folder / "config.yaml").write_text(yaml.safe_dump({"codec": codec, "seed": seed}))
    times = {"encode_ms": [1.0, 2.0], "decode_ms": [3.0, 4.0]}
    table = {"bits": bits, "bytes": [20, 22], "bits_estimated": [6.0, 7.0], "accuracy": [1.0, 0.0]}
    pd.DataFrame(table | times).to_parquet(folder / "results.parquet")


def test_only_finished_runs_count(tmp_path: Path):
    collect = program("point_clouds")
    _run(tmp_path / "a", 1, "finished", [10, 12])
    _run(tmp_path / "b", 0, "finished", [6, 8])
    _run(tmp_path / "c", 2, "failed", [1, 1])
    collect.Clouds(FOLDER).collect(tmp_path, tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "measured.csv")
    assert [(row["seed"], row["bits_in_stream"], row["bits_as_file"]) for row in rows] == [
        ("0", "7.0", "168.0"), ("1", "11.0", "168.0"),
    ]  # fmt: skip
    assert "| micro | 10 | 2 | 9.0 ± 2.8 | 168.0 ± 0.0 |" in (tmp_path / "out" / "README.md").read_text()


def test_rows_of_runs_that_are_elsewhere_stay(tmp_path: Path):
    """Of seed 0 there is a newer run; seed 1 is on record only; seed 2 is new."""
    collect, out = program("point_clouds"), tmp_path / "out"
    for name, seed, bits in [("old/a", 0, [2, 4]), ("old/b", 1, [6, 8]), ("new/a", 0, [10, 12]), ("new/c", 2, [1, 3])]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        _run(tmp_path / name, seed, "finished", bits)
    for runs in ("old", "new"):
        collect.Clouds(FOLDER).collect(tmp_path / runs, out)
    rows = read_csv(out / "measured.csv")
    assert [(r["seed"], r["bits_in_stream"]) for r in rows] == [("0", "11.0"), ("1", "7.0"), ("2", "2.0")]
    assert "| micro | 10 | 3 | 6.7 ± 4.5 |" in (out / "README.md").read_text()


def test_no_finished_run_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="no finished run"):
        program("point_clouds").Clouds(FOLDER).collect(tmp_path, tmp_path)


def _baseline(folder: Path, classifier: str, bits: list[float], accuracies: list[float]) -> None:
    """A run of Draco with two grids, one cloud each."""
    folder.mkdir()
    (folder / "status.json").write_text(json.dumps({"state": "finished"}))
    codec = {"_target_": "nic_lightning.baselines.draco.Draco", "classifier": f"elsewhere/{classifier}", "points": 64}
    (folder / "config.yaml").write_text(yaml.safe_dump({"codec": codec}))
    table = {"label": ["b1", "b2"], "bits": bits, "accuracy": accuracies, "encode_ms": [1.0, 1.0]}
    pd.DataFrame(table | {"decode_ms": [1.0, 1.0]}).to_parquet(folder / "results.parquet")


def test_codecs_of_the_geometry_are_compared_at_equal_accuracy(tmp_path: Path):
    """Half of our clouds are right, at 10 bits and 168 of a file; Draco's line from .4 to .6 is there at 600 bits."""
    _run(tmp_path / "ours", 0, "finished", [9, 11])
    _run(tmp_path / "more", 0, "finished", [19, 21], points=1024)
    _baseline(tmp_path / "draco", "ours", [400, 800], [0.4, 0.6])
    assert program("point_clouds").Clouds(FOLDER).collect(tmp_path, tmp_path / "out") == []
    page = (tmp_path / "out" / "README.md").read_text()
    assert "| micro | 10 | 0.500 | 10.0 | 168 | 600 | 60.0, 3.6 | - | - |" in page
    assert "| micro | 10 | 1024 | 1 | 20.0 | 0.500 |" in page
    assert [row["grid"] for row in read_csv(tmp_path / "out" / "baselines.csv")] == ["1", "2"]
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"accuracy.png", "latency.png", "published.png"}


def test_an_accuracy_beyond_theirs_has_no_number(tmp_path: Path):
    _run(tmp_path / "ours", 0, "finished", [9, 11])
    _baseline(tmp_path / "draco", "ours", [400, 800], [0.3, 0.4])
    program("point_clouds").Clouds(FOLDER).collect(tmp_path, tmp_path / "out")
    assert "| micro | 10 | 0.500 | 10.0 | 168 | - | - | - | - |" in (tmp_path / "out" / "README.md").read_text()
