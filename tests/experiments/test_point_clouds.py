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


def _run(folder: Path, seed: int, state: str, bits: list[float]) -> None:
    folder.mkdir()
    (folder / "status.json").write_text(json.dumps({"state": state}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"codec": {"size": "micro", "lmbda": 10.0}, "seed": seed}))
    table = {"bits": bits, "bytes": [20, 22], "bits_estimated": [6.0, 7.0], "accuracy": [1.0, 0.0]}
    pd.DataFrame(table).to_parquet(folder / "results.parquet")


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


def test_no_finished_run_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="no finished run"):
        program("point_clouds").Clouds(FOLDER).collect(tmp_path, tmp_path)
