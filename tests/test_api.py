"""The package itself: what is public, imported when it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nic_lightning
from nic_lightning.errors import RunError
from nic_lightning.metrics.bd import BdError
from nic_lightning.runs.record.results import RESULT_COLUMNS, write_results

RATES, QUALITIES = [0.1, 0.2, 0.4, 0.8], [28.0, 30.0, 32.5, 35.0]


def test_the_package_starts_without_heavy_libraries() -> None:
    code = (
        "import sys, nic_lightning; dir(nic_lightning); nic_lightning.bd_rate;"
        "print([m for m in ('torch', 'pandas', 'numpy', 'PIL', 'bjontegaard') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_that_is_public_is_there() -> None:
    assert set(nic_lightning.__all__) <= set(dir(nic_lightning))
    for name in nic_lightning.__all__:
        assert getattr(nic_lightning, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        nic_lightning.lode  # noqa: B018


def test_load_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist; give a run folder"):
        nic_lightning.load(tmp_path / "nothing")


def row(item: str, **values: object) -> dict:
    place = {"run": "old name", "codec": "cae", "experiment": "e", "dataset": "kodak", "item": item, "index": 0}
    return {**place, "label": "64", "lmbda": 64.0, "pixels": 100, "bytes": 50, "bpp": 4.0, "psnr": 30.0, **values}


def test_results_of_all_runs_are_one_table(tmp_path: Path) -> None:
    write_results(tmp_path / "runs" / "one" / "results.parquet", [row("a"), row("b", psnr=None, width=48)])
    write_results(tmp_path / "runs" / "two" / "results.parquet", [row("a", refused="too wide", bytes=None)])
    table = nic_lightning.results(tmp_path / "runs")
    assert list(table["run"]) == ["runs/one", "runs/one", "runs/two"]
    assert set(RESULT_COLUMNS) < set(table.columns)
    assert table["bytes"].dtype == pd.Int64Dtype()
    assert table["width"].isna().tolist() == [True, False, True]
    assert table["refused"].tolist()[2] == "too wide"
    assert table.groupby("run")["psnr"].mean().to_dict() == {"runs/one": 30.0, "runs/two": 30.0}
    assert list(nic_lightning.results(str(tmp_path / "runs" / "two"))["run"]) == ["two"]


def test_a_damaged_run_is_warned_of_and_left_out(tmp_path: Path) -> None:
    write_results(tmp_path / "one" / "results.parquet", [row("a")])
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "results.parquet").write_bytes(b"no parquet")
    with pytest.warns(UserWarning, match="two: .* is not a readable results table"):
        assert len(nic_lightning.results(tmp_path)) == 1


def test_no_results_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        nic_lightning.results(tmp_path / "gone")
    write_results(tmp_path / "one" / "results.parquet", [])
    with pytest.raises(RunError, match="holds results; nic-evaluate writes them"):
        nic_lightning.results(tmp_path)


def test_bd_rate_takes_lists_arrays_and_columns() -> None:
    double = np.array(RATES) * 2
    assert nic_lightning.bd_rate(RATES, QUALITIES, double, pd.Series(QUALITIES)) == pytest.approx(100.0)
    single = double.astype(np.float32)[::-1], QUALITIES[::-1]
    assert nic_lightning.bd_rate(*single, RATES, QUALITIES) == pytest.approx(-50.0)
    worse = [-quality for quality in QUALITIES]
    assert nic_lightning.bd_rate(RATES, worse, double, worse, metric="lpips") == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("curves", "sentence"),
    [
        ((RATES, QUALITIES[:3], RATES, QUALITIES), "The anchor curve has 4 rates and 3 of psnr: give one quality"),
        ((RATES, QUALITIES, RATES, ["high"] * 4), "The test curve has a value that is no number"),
        ((RATES, QUALITIES, RATES, [None] * 4), "The test curve has a value that is no number"),
        ((RATES, QUALITIES, RATES, QUALITIES[::-1]), "The test curve is not monotone"),
        ((RATES, QUALITIES, RATES, [quality + 50 for quality in QUALITIES]), "The curves do not overlap in psnr"),
        (([0.1], [30.0], RATES, QUALITIES), "The anchor curve has 1 point"),
    ],
)
def test_curves_without_a_delta_are_a_sentence(curves: tuple, sentence: str) -> None:
    with pytest.raises(BdError, match=sentence):
        nic_lightning.bd_rate(*curves)
