"""From a training to files, images and a report: console scripts as a user calls them, nothing mocked."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from nic_lightning import cli
from nic_lightning.runs.record.record import read_metrics
from nic_lightning.runs.record.results import read_results

from .conftest import RECIPE, Desk

LINE = re.compile(r"(\S+\.nic): ([\d,]+) bytes, ([\d.]+) bpp, point (\S+), ([\d.]+) dB(?:  \((.*)\))?")
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def run(desk: Desk, training: Done) -> Path:
    return desk.folder / "runs" / "tiny"


@pytest.fixture(scope="module")
def coded(desk: Desk, run: Path) -> dict[str, re.Match[str]]:
    """photo.png at both ends of the range and at two targets between them: the line that told of each file.

    The first by a process of its own; the others in this one, which saves them the seconds of its imports.
    """
    lines = {"0.1": compress(desk, "0.1", "--point", "0.1"), "64": compress_here(desk, "64", "--point", "64")}
    rates = [rate(lines[label]) for label in ("0.1", "64")]
    qualities = [float(lines[label][5]) for label in ("0.1", "64")]
    lines["bpp"] = compress_here(desk, "bpp", "--bpp", round(sum(rates) / 2, 4))
    lines["psnr"] = compress_here(desk, "psnr", "--psnr", round(sum(qualities) / 2, 2))
    return lines


def compress(desk: Desk, out: str, *target: object) -> re.Match[str]:
    done = desk("nic", "compress", "photo.png", "-o", out, "--run", "runs/tiny", *target)
    assert done.returncode == 0, done.stderr
    return told(done.stdout)


def compress_here(desk: Desk, out: str, *target: object) -> re.Match[str]:
    arguments = ["compress", "photo.png", "-o", out, "--run", "runs/tiny", *map(str, target)]
    with contextlib.chdir(desk.folder), contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main(arguments) == 0
    return told(output.getvalue())


def told(output: str) -> re.Match[str]:
    line = LINE.fullmatch(output.strip())
    assert line, output
    return line


def rate(line: re.Match[str]) -> float:
    return float(line[3])


def test_a_run_folder_is_complete(run: Path, training: Done) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["codec"]["lambdas"] == [0.1, 64]
    assert yaml.safe_load((run / "overrides.yaml").read_text()) == list(RECIPE)
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"]
    assert (run / "wandb_id").read_text().strip()
    assert (run / "checkpoints" / "last.ckpt").stat().st_size > 10_000
    assert (run / "figures" / "rd_psnr.png").read_bytes().startswith(b"\x89PNG")
    pictures = {path.name for path in (run / "figures" / "reconstructions" / "embedded").glob("*/*.png")}
    assert pictures == {"original.png", "0.1.png", "64.png"}
    steps = [line["step"] for line in read_metrics(run) if "train/bpp@0.1" in line]
    assert steps == [19, 39, 59]


def test_results_are_of_real_files_and_stand_in_the_terminal(run: Path, training: Done) -> None:
    rows = read_results(run / "results.parquet")
    learned = [row for row in rows if row["codec"] == "modulated"]
    assert {row["label"] for row in learned} == {"0.1", "64"}
    for row in learned:
        assert row["bpp"] == pytest.approx(8 * row["bytes"] / row["pixels"])
        assert 0 < row["bpp_estimated"] < row["bpp"]
    assert {row["item"] for row in rows if row["codec"] == "jpeg"} == {row["item"] for row in learned}
    assert re.search(r"^(?:modulated)? +0\.1 +\d\.\d{4}", training.stdout, re.MULTILINE)
    assert "Traceback" not in training.stderr


def test_the_same_command_leaves_a_finished_run_alone(desk: Desk, run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    done = desk("nic-train", *RECIPE)
    assert done.returncode == 0, done.stderr
    assert "is finished already" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_files_have_the_size_that_is_told(desk: Desk, coded: dict[str, re.Match[str]], photo: np.ndarray) -> None:
    for label, line in coded.items():
        size = (desk.folder / label / "photo.nic").stat().st_size
        assert int(line[2].replace(",", "")) == size
        assert rate(line) == pytest.approx(8 * size / (photo.shape[0] * photo.shape[1]), abs=1e-4)


def test_targets_are_met_or_explained(coded: dict[str, re.Match[str]]) -> None:
    """A codec of 60 steps may not reach a rate between its two points; then the message has to say so."""
    for name, column, unit, tolerance in (("bpp", 3, "bpp", 0.021), ("psnr", 5, "dB", 0.07)):
        low, high, got = (float(coded[label][column]) for label in ("0.1", "64", name))
        target = round((low + high) / 2, 4 if unit == "bpp" else 2)
        allowed = tolerance * target if unit == "bpp" else tolerance
        message = coded[name][6]
        if message is None:
            assert abs(got - target) <= allowed
        else:
            assert f"{target:g} {unit}" in message
            assert abs(got - target) <= abs(high - low) / 2 + 1e-3  # no farther than the nearer end


def test_files_decode_to_what_was_promised(desk: Desk, coded: dict[str, re.Match[str]], photo: np.ndarray) -> None:
    done = desk("nic", "decompress", "bpp/photo.nic", "-o", "back", "--run", "runs/tiny")
    assert done.returncode == 0, done.stderr
    decoded = np.asarray(Image.open(desk.folder / "back" / "photo.png"))
    assert decoded.shape == photo.shape
    error = np.square(decoded.astype(float) - photo).mean()
    assert 10 * np.log10(255**2 / error) == pytest.approx(float(coded["bpp"][5]), abs=0.006)


def test_bad_files_are_named_and_nothing_is_written(
    desk: Desk, coded: dict[str, re.Match[str]], make_codec, picture
) -> None:
    data = (desk.folder / "0.1" / "photo.nic").read_bytes()
    middle = len(data) // 2
    stranger = make_codec("modulated", seed=1, lambdas=[0.1, 64])
    point = stranger.operating_points[0]
    bad = {
        "cut": data[:-5],
        "altered": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "foreign": stranger.pack(stranger.compress(picture(32, 32), point), point),
        "text": b"hello",
    }
    folder = desk.folder / "bad"
    folder.mkdir()
    for name, content in bad.items():
        (folder / f"{name}.nic").write_bytes(content)
    done = desk("nic", "decompress", *(f"bad/{name}.nic" for name in bad), "-o", "never", "--run", "runs/tiny")
    assert done.returncode == 2
    assert done.stdout == ""
    *sentences, total = done.stderr.strip().splitlines()
    assert total == "4 of 4 files failed."
    assert [line.split(":")[0] for line in sentences] == [f"bad/{name}.nic" for name in bad]
    for sentence, reason in zip(sentences, ("CRC-32", "CRC-32", "another model", "not a .nic file"), strict=True):
        assert reason in sentence
    assert not list(desk.folder.glob("never/*"))


def test_a_wrong_run_or_key_is_one_sentence(desk: Desk, run: Path) -> None:
    done = desk("nic", "decompress", "photo.png", "-o", "never", "--run", "runs/none")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "runs/none does not exist" in done.stderr
    done = desk("nic-train", *RECIPE, "seed=1")
    assert done.returncode == 2
    assert "holds another run: seed is 0 there and 1 here" in done.stderr
    done = desk("nic-train", "codec=slimmable", "codec.widths=[8,4]", "name=falling", "logger=none")
    sentence = "codec.widths is [8, 4]; give 1 to 16 positive whole numbers, rising."
    assert (done.returncode, done.stderr.strip()) == (2, sentence)
    assert not (desk.folder / "runs" / "falling").exists()
    done = desk("nic-train", "codec.wdith=8")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "width" in done.stderr


def test_the_report_is_one_page_that_asks_for_nothing(desk: Desk, run: Path) -> None:
    done = desk("nic", "report", "runs", "-o", "report.html")
    assert done.returncode == 0, done.stderr
    page = (desk.folder / "report.html").read_text(encoding="utf-8")
    for word in ("modulated", "jpeg", "BD-rate", "data:image/"):
        assert word in page
    assert not re.search(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
