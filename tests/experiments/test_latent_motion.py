"""experiments/latent_motion: readings of curves beside the published ones, and what motion saves a codec."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from nic_lightning.errors import UserError
from nic_lightning.runs.record.latent_motion import write_latent_motion
from tests.experiments.programs import program

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "latent_motion"


def rows(file: str) -> list[dict[str, str]]:
    with (FOLDER / file).open(newline="") as data:
        return list(csv.DictReader(data))


def test_measured_minima_lie_at_whole_strides() -> None:
    """The claim of the paper's Figure 5, which it makes of every layer."""
    measured = [row for row in rows("measured.csv") if int(row["stride"]) > 1]
    assert {row["network"] for row in measured} == {"EfficientNet-Lite0", "MAE, small"}
    assert all(2 * float(row["translation_whole"]) < 1.2 * float(row["translation_between"]) for row in measured)
    assert {row["images"] for row in measured} == {"24"}


def curves() -> list[dict]:
    """A layer of stride 4 whose error is .01 at whole strides, .03 half a stride off, and .02 elsewhere."""
    common = {"study": "curves", "network": "n", "layer": "conv", "stride": 4.0, "item": "a"}
    values = np.arange(-8, 8.5, 0.5)
    errors = [0.0 if v == 0 else 0.01 if v % 4 == 0 else 0.03 if v % 4 == 2 else 0.02 for v in values]
    found = [common | {"motion": "translate", "value": v, "nrmse": e} for v, e in zip(values, errors, strict=True)]
    found += [common | {"motion": "rotate", "value": v, "nrmse": 0.04 if abs(v) == 10 else 0.0} for v in (-10, 0, 10)]
    return found + [common | {"study": "histogram", "nrmse": 0.05, "draw": n} for n in range(4)]


def ways() -> list[dict]:
    common = {"study": "codec_motion", "motion": "flow", "item": "a", "network": "n"}
    found = []
    for label, psnr, rate in (("64", 26.0, 0.1), ("256", 29.0, 0.3), ("1024", 32.0, 0.8)):
        for way, part in (("frame", 1.0), ("latent motion", 0.9)):
            found.append(common | {"label": label, "way": way, "psnr": psnr, "bpp": rate, "bpp_ideal": part * rate})
        for layer in ("frame", "y"):
            found.append(common | {"label": label, "way": "latent motion", "layer": layer, "nrmse": 0.02})
    return found


def test_runs_are_gathered_beside_the_published_readings(tmp_path: Path) -> None:
    module = program("latent_motion")
    with pytest.raises(UserError, match="run it first"):
        module.Motion(FOLDER).collect(tmp_path / "runs", tmp_path / "out")
    write_latent_motion(tmp_path / "runs" / "efficientnet_lite0_kodak", curves())
    write_latent_motion(tmp_path / "runs" / module.CODEC, ways())
    notes = module.Motion(FOLDER).collect(tmp_path / "runs", tmp_path / "out")
    assert notes == ["mae_small_kodak: not analysed."]
    text = (tmp_path / "out" / "README.md").read_text()
    reading = "| EfficientNet-Lite0 | `conv` | 4 | 0.0100 | 0.0300 | 0.0400 | - | - | - | 0.0500 | 0.050-0.050 |"
    assert reading in text
    assert "| ResNet-34 | `add_3` | 8 | .011 | .018-.033 |" in text
    assert "| `y` | 0.0200 |" in text
    assert "| 0.100 / 0.090 / 26.00 dB |" in text
    assert "| +0.0 % | -10.0 % |" in text
