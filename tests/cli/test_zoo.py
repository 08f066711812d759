"""The zoo as a user meets it: nic zoo, and nic compress and nic decompress with nothing but a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nic_lightning
from nic_lightning.cli import main
from nic_lightning.codecs.loading import load_with_config
from nic_lightning.codecs.quality import point_of_quality
from nic_lightning.zoo import shelf
from tests.zoo.shelves import shelve

TRIANGLE = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0.5\n3 0 1 2\n"


def nic(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.fixture
def zoo(run: Path, slim_run: Path, make_codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of a codec of any lambda, the default, one of several widths, and one of clouds."""
    here = tmp_path / "zoo"
    for name, source in (("photo", run), ("widths", slim_run)):
        shelve(*load_with_config(source), here, name)
    clouds = {"size": "lite", "classes": ["chair", "lamp", "table"], "points": 64}
    target = {"_target_": "nic_lightning.codecs.point_cloud.PointCloudCodec"}
    shelve(make_codec("point_cloud", **clouds), target | clouds, here, "shape")
    (here / "zoo.json").write_text('{"defaults": {"image": "photo"}}')
    monkeypatch.setattr(shelf, "HERE", here)
    monkeypatch.chdir(tmp_path)
    return here


def test_two_commands_and_nothing_to_choose(zoo: Path, images: list[Path], capsys) -> None:
    face, original = images[0], images[0].read_bytes()
    assert nic("compress", face) == 0
    written = face.with_suffix(".nic")
    said = capsys.readouterr().out
    assert said.startswith(f"{written}: {written.stat().st_size:,} bytes, ")
    assert said.endswith(" dB  (Model photo, quality 50 of 1 to 100.)\n")
    assert nic("decompress", written) == 0
    decoded = face.with_name("face.decoded.png")  # face.png is the original
    assert capsys.readouterr().out == f"{decoded}: 70x90\n"
    assert face.read_bytes() == original
    codec = nic_lightning.load("photo")
    assert np.array_equal(np.asarray(Image.open(decoded)), codec.decode(written.read_bytes(), "numpy"))
    # Again: nothing is replaced unasked, and the original never.
    assert [nic("compress", face), nic("decompress", written)] == [2, 2]
    assert "face.decoded.png exists; use --overwrite" in capsys.readouterr().err
    for where in ([], ["-o", face.parent]):
        assert nic("decompress", written, "--overwrite", *where) == 0
        assert face.read_bytes() == original
    face.unlink()
    assert nic("decompress", written) == 0
    assert np.array_equal(np.asarray(Image.open(face)), np.asarray(Image.open(decoded)))


def test_a_cloud_is_taken_by_the_model_for_clouds(zoo: Path, tmp_path: Path, images: list[Path], capsys) -> None:
    (tmp_path / "chair.off").write_text(TRIANGLE)
    assert nic("compress", "chair.off") == 0
    assert "(Model shape. Sampled" in capsys.readouterr().out
    assert nic("decompress", "chair.nic") == 0
    assert json.loads(Path("chair.json").read_text())["class"] in ("chair", "lamp", "table")
    (tmp_path / "scans").mkdir()
    (tmp_path / "chair.off").rename(tmp_path / "scans" / "chair.off")
    capsys.readouterr()
    assert nic("compress", "scans") == 0  # a stream
    assert capsys.readouterr().out.endswith("  (Model shape.)\n")
    assert nic("decompress", "scans.nic") == 0
    assert len(json.loads(Path("scans.json").read_text())) > 0
    capsys.readouterr()
    assert nic("compress", "scans", images[0], "-o", "o") == 2
    assert capsys.readouterr().err.startswith("The files are ")
    assert nic("compress", "gone.png", images[0]) == 2  # what cannot be read does not decide
    assert images[0].with_suffix(".nic").exists()


def test_the_model_is_found_by_the_file_alone(zoo: Path, run: Path, images: list[Path], capsys) -> None:
    labels = [point.label for point in nic_lightning.load("widths").operating_points]
    for label in (labels[0], labels[-1]):  # files of a narrow one have a fingerprint of their own
        assert nic("compress", images[0], "--run", "widths", "--point", label, "-o", label) == 0
        assert nic("decompress", f"{label}/face.nic", "-o", f"{label}/back") == 0
        alone = nic_lightning.load("widths").decode(Path(label, "face.nic").read_bytes(), "numpy")
        assert np.array_equal(np.asarray(Image.open(f"{label}/back/face.png")), alone)
    assert nic("compress", images[0], "--run", run, "-o", "foreign") == 0  # float32 weights: another codec
    capsys.readouterr()
    assert nic("decompress", "foreign/face.nic") == 2
    own = nic_lightning.load(run).fingerprint().hex()
    assert f"made with a model that is not in the zoo ({own}): give the run" in capsys.readouterr().err
    assert sorted(path.name for path in Path("foreign").iterdir()) == ["face.nic"]


def test_quality_and_bytes(zoo: Path, run: Path, images: list[Path], capsys) -> None:
    codec = nic_lightning.load(run)
    for quality in (1, 80):
        assert nic("compress", images[0], "--run", run, "--quality", quality, "-o", quality) == 0
        point = codec.unpack(Path(str(quality), "face.nic").read_bytes())[1]
        assert point == point_of_quality(codec, quality)
    least = Path("1", "face.nic").stat().st_size
    assert nic("compress", images[0], "--run", run, "--max-bytes", least, "-o", "fits") == 0
    assert Path("fits", "face.nic").stat().st_size <= least
    capsys.readouterr()
    assert nic("compress", images[0], "--max-bytes", 30, "-o", "none") == 2
    assert "30 are allowed" in capsys.readouterr().err
    assert not Path("none").exists()
    for wrong, said in (
        (("--quality", "101"), "--quality is a whole number from 1 to 100, not 101."),
        (("--quality", "50", "--max-bytes", "900"), "argument --max-bytes: not allowed with argument --quality"),
        (("--max-bytes", "0"), "--max-bytes is at least 1, not 0."),
    ):
        assert nic("compress", images[0], *wrong) == 2
        assert said in capsys.readouterr().err


def test_list_show_and_get(zoo: Path, images: list[Path], capsys) -> None:
    assert nic("zoo", "list") == 0
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header[:5] == ["model", "medium", "codec", "size", "default"]
    assert [row[:3] for row in rows] == [
        ["photo", "image", "modulated"],
        ["shape", "cloud", "point_cloud"],
        ["widths", "image", "slimmable"],
    ]
    assert ["yes" in row for row in rows] == [True, True, False]
    assert nic("zoo", "list", "--json") == 0
    assert [model["default"] for model in json.loads(capsys.readouterr().out)] == [True, True, False]
    assert nic("zoo", "show", "photo") == 0
    text = capsys.readouterr().out
    for part in ("image (the default)", "two cores", "27.12", "BD-rate against jpeg -31.2 %", "It knows one photo"):
        assert part in text
    assert nic("zoo", "get", "photo", "-o", "copy") == 0
    assert nic_lightning.load("copy").fingerprint() == nic_lightning.load("photo").fingerprint()
    assert nic("zoo", "get", "photo", "-o", "copy") == 2
    assert nic("zoo", "show", "foto") == 2
    assert "There is no model 'foto' in the zoo; there are: photo, shape, widths." in capsys.readouterr().err


def test_a_run_of_an_evaluation_may_be_a_model(zoo: Path, nic_evaluate, tmp_path: Path, images: list[Path]) -> None:
    before = sorted(path.name for path in (zoo / "models" / "photo").iterdir())
    assert nic_evaluate("run=photo", f"evaluation.datasets=[{images[0].parent}]", "evaluation.points=['512']") == 0
    assert (tmp_path / "runs" / "photo" / "results.parquet").is_file()
    assert sorted(path.name for path in (zoo / "models" / "photo").iterdir()) == before
