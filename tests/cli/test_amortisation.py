"""`nic amortisation`: tables and figures of a run, with and without adapted tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from nic_lightning import cli
from nic_lightning.codecs.encoding_distribution import EncodingDistribution
from nic_lightning.codecs.loading import load_codec
from tests.cli.conftest import ARGUMENTS, saved

FILES = {"points.csv", "images.csv", "channels.parquet"}
FIGURES = {"gains.png", "channels.png", "signature.png"}


@pytest.fixture(scope="module")
def adapted_run(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a codec around `run` with untrained adapted tables."""
    torch.manual_seed(0)
    base = {"_target_": "nic_lightning.codecs.modulated.ModulatedAutoencoder", **ARGUMENTS}
    arguments = {"_recursive_": False, "base": base, "bins": 32, "hidden": 8, "side": 4, "groups": 4}
    codec = EncodingDistribution(**{k: v for k, v in arguments.items() if k != "_recursive_"})
    codec.adopt_codec(load_codec(run))
    codec.eval().update_tables()
    return saved(codec, arguments, tmp_path_factory.mktemp("runs") / "adapted")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_and_figures_of_a_run(adapted_run: Path, images: list[Path], capsys) -> None:
    command = ["amortisation", str(adapted_run), "--images", str(images[0].parent)]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "MAC/pixel to analyse" in text
    folder = adapted_run / "amortisation"
    assert {path.name for path in folder.iterdir()} == FILES | FIGURES
    points = table(folder / "points.csv")
    assert [row["label"] for row in points] == ["64", "512", "4096"]
    for row in points:
        ideal = float(row["ideal"])
        assert all(ideal <= float(row[way]) for way in ("static", "adapted", "gaussian", "backward"))
        assert f"{float(row['static']):.5f}" in text
    of_images = table(folder / "images.csv")
    channels = pq.read_table(folder / "channels.parquet").to_pylist()
    assert (len(of_images), len(channels)) == (6, 48)
    first = of_images[0]
    own = [c["static"] for c in channels if (c["item"], c["label"]) == (first["item"], first["label"])]
    assert sum(own) == pytest.approx(float(first["static"]))
    for name in FIGURES:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300
    assert cli.main(command) == 2
    assert "exists" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite", "--limit", "1", "--point", "64"]) == 0
    assert "No BD-rate: " in capsys.readouterr().out  # of one point
    assert len(table(folder / "points.csv")) == 1


def test_static_codecs_have_their_gap_too(run: Path, images: list[Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "gap"
    assert cli.main(["amortisation", str(run), "--images", str(images[0].parent), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "MAC/pixel" not in text
    assert {path.name for path in out.iterdir()} == FILES | FIGURES
    assert {row["adapted"] for row in table(out / "points.csv")} == {""}


def test_what_cannot_be_measured_is_said(run: Path, images: list[Path], capsys) -> None:
    assert cli.main(["amortisation", str(run / "checkpoints" / "last.ckpt"), "--images", str(images[0].parent)]) == 2
    assert "say by --out where the tables go" in capsys.readouterr().err
    assert cli.main(["amortisation", str(run), "--images", str(images[0].parent / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_images_of_a_size_never_trained_for_are_told_of(adapted_run: Path, images: list[Path], capsys) -> None:
    command = ["amortisation", str(adapted_run), "--images", str(images[0].parent), "--no-figures", "--overwrite"]
    for target, told in (("[512, 768]", True), ("[100, 100]", False), ("null", False), ("[1, a]", False)):
        (adapted_run / "config.yaml").write_text(f"task: {{target: {target}}}\n")
        assert cli.main([*command, "--point", "64"]) == 0
        text = capsys.readouterr().out
        assert ("Its tables were trained for images of 512x768 (task.target)" in text) == told
        assert ("task.target=null trains for all (2 of 2)" in text) == told
