"""Point clouds from the command line: trained, measured, drawn, compressed one by one and a thousand in a stream."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from nic_lightning import train
from nic_lightning.cli import main
from nic_lightning.codecs.loading import load_codec
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.commands.compress import compress
from nic_lightning.commands.decompress import decompress
from nic_lightning.commands.inspect import inspect
from nic_lightning.commands.report import report
from nic_lightning.errors import UserError
from nic_lightning.media.cloud.handler import CloudHandler
from nic_lightning.runs.record.results import read_results
from tests.cli.conftest import saved
from tests.data.shapes import CLASSES, write_set
from tests.media import clouds

ARGUMENTS = {"size": "micro", "classes": list(CLASSES), "points": 48, "reconstruct": True}


@pytest.fixture(scope="module")
def cloud_run(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    codec = PointCloudCodec(**ARGUMENTS)
    codec(CloudHandler().example(1, 48, n=8), codec.operating_points[0])
    codec.eval().update_tables()
    return saved(codec, ARGUMENTS, tmp_path_factory.mktemp("runs") / "clouds")


def test_an_export_holds_an_encoder_for_a_sensor(cloud_run, tmp_path, capsys):
    assert main(["export", str(cloud_run), "-o", str(tmp_path / "out"), "--c-header"]) == 0
    assert re.match(r"point_encoder\.h: \d+,\d{3} bytes of constants, \d{3} of the stack\n", capsys.readouterr().out)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "codec.json",
        "codec.safetensors",
        "point_encoder.h",
    }
    assert load_codec(tmp_path / "out").c_header().text == (tmp_path / "out/point_encoder.h").read_text()
    assert main(["export", str(cloud_run), "-o", str(tmp_path / "out"), "--overwrite"]) == 0
    assert not (tmp_path / "out/point_encoder.h").exists()


def test_halves_are_small_and_only_encode_or_only_decode(cloud_run, tmp_path, capsys):
    box = clouds.write(tmp_path / "box.off", clouds.off())
    halves = {half: tmp_path / half for half in ("sender", "receiver")}
    for half, out in halves.items():
        assert main(["export", str(cloud_run), "-o", str(out), "--half", half]) == 0
    said = capsys.readouterr().out.splitlines()
    sizes = [int(line.partition("(")[2].partition(" bytes")[0].replace(",", "")) for line in said]
    assert sizes == [(out / "codec.safetensors").stat().st_size for out in halves.values()]
    assert sizes[0] < 40_000 < sizes[1]  # 1,088 parameters and tables; and a classifier of 150,000
    assert {line.rpartition(" ")[2] for line in said} == {load_codec(cloud_run).fingerprint().hex()}
    assert compress([box], run=halves["sender"], out=tmp_path / "files") == 0
    assert "%" not in capsys.readouterr().out  # the sender does not know the class
    assert compress([box], run=cloud_run, out=tmp_path / "whole") == 0
    assert (tmp_path / "files/box.nic").read_bytes() == (tmp_path / "whole/box.nic").read_bytes()
    (tmp_path / "scans").mkdir()
    clouds.write(tmp_path / "scans/one.off", clouds.off())
    assert compress([tmp_path / "scans"], run=halves["sender"], out=tmp_path / "files") == 0
    assert re.search(r"scans\.nic: \d\d bytes, 1 cloud", capsys.readouterr().out)
    assert compress([box], run=halves["receiver"], out=tmp_path / "none") == 2
    assert f"{box}: point_cloud cannot encode: this is the receiver's half.\n" in capsys.readouterr().err
    decided = {half: tmp_path / f"by-{half}" for half in ("sender", "receiver", "whole")}
    assert decompress([tmp_path / "files/box.nic"], run=halves["sender"], out=decided["sender"]) == 2
    assert "point_cloud cannot decide: this is the sender's half." in capsys.readouterr().err
    for half, run in (("receiver", halves["receiver"]), ("whole", cloud_run)):
        assert decompress([tmp_path / "files/box.nic"], run=run, out=decided[half]) == 0
    assert (decided["receiver"] / "box.json").read_text() == (decided["whole"] / "box.json").read_text()


def test_a_mesh_becomes_a_file_of_a_few_bytes_and_a_decision(cloud_run, tmp_path, capsys):
    box = clouds.write(tmp_path / "box.off", clouds.off())
    bad = clouds.write(tmp_path / "bad.off", "OFF 3 0 0\n")
    assert compress([box, bad], run=cloud_run, out=tmp_path / "files") == 2
    said = capsys.readouterr()
    assert re.search(r"box\.nic: \d\d bytes, \d+\.0000 bit/cloud, point 160, \w+, \d+ %  \(Sampled 2,048", said.out)
    assert "bad.off: it promises 3 vertices" in said.err
    assert decompress([tmp_path / "files/box.nic"], run=cloud_run, out=tmp_path / "out") == 0
    assert re.fullmatch(r".*box\.json: (\w+), \d+ %\n", capsys.readouterr().out)
    found = json.loads((tmp_path / "out/box.json").read_text())
    assert found["class"] in CLASSES
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    points, _ = CloudHandler().read(tmp_path / "out/box.ply")
    assert points.shape == (1, 48, 3)
    (tmp_path / "out/box.json").unlink()
    assert decompress([tmp_path / "files/box.nic"], run=cloud_run, out=tmp_path / "out") == 2
    assert "box.ply exists" in capsys.readouterr().err


def test_a_folder_makes_one_stream(cloud_run, tmp_path, capsys):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(70):
        np.save(scans / f"{number:03d}.npy", clouds.ball(60, number))
    assert compress([scans], run=cloud_run, out=tmp_path / "files") == 0
    said = capsys.readouterr().out
    size = (tmp_path / "files/scans.nic").stat().st_size
    assert f"scans.nic: {size:,} bytes, 70 clouds, {8 * size / 70:.4f} bit/cloud, point 160" in said
    codec = load_codec(cloud_run)
    assert decompress([tmp_path / "files/scans.nic"], run=cloud_run, out=tmp_path / "out") == 0
    assert capsys.readouterr().out.endswith("scans.json: 70 clouds\n")
    decided = json.loads((tmp_path / "out/scans.json").read_text())
    alone = codec.decode(codec.encode(np.load(scans / "069.npy")))
    assert decided[69]["class"] == alone.name(int(alone.log_probabilities.argmax()))
    assert len(list((tmp_path / "out").glob("scans.*.ply"))) == 70
    data = (tmp_path / "files/scans.nic").read_bytes()
    (tmp_path / "files/cut.nic").write_bytes(data[:-20])
    assert decompress([tmp_path / "files/cut.nic"], run=cloud_run, out=tmp_path / "cut") == 0
    assert re.search(r"cut\.json: 6\d clouds; the stream is cut behind 6\d clouds", capsys.readouterr().out)
    assert compress([scans], run=cloud_run, out=tmp_path / "again", bits=30.0) == 2
    assert "one operating point" in capsys.readouterr().err


def test_images_are_no_clouds(cloud_run, run, tmp_path, capsys):
    box = clouds.write(tmp_path / "box.off", clouds.off())
    assert compress([box], run=run, out=tmp_path / "files") == 2
    assert "not an image" in capsys.readouterr().err
    assert compress([box], run=cloud_run, out=tmp_path / "files") == 0
    capsys.readouterr()
    assert decompress([tmp_path / "files/box.nic"], run=run, out=tmp_path / "out") == 2
    assert "the medium cloud, not an image" in capsys.readouterr().err


def test_costs_are_told_by_point(cloud_run, capsys):
    inspect(run=cloud_run)
    said = capsys.readouterr().out
    assert "point_cloud, one cloud of 1x48" in said
    assert re.search(r"kMAC/point.*\n +160 .* 0\.048 ", said)


def test_budgets_are_for_images(cloud_run, tmp_path):
    box = clouds.write(tmp_path / "box.off", clouds.off())
    with pytest.raises(UserError, match="for codecs of images"):
        compress([box], run=cloud_run, out=tmp_path / "files", max_macs="10k")


@pytest.fixture
def nic_train(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[list[str]], None]:
    """Run the console script's function in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def start(arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["nic-train", *arguments])
        try:
            train.main()
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None

    return start


def test_a_run_trains_and_its_report_draws_accuracy_over_bits(tmp_path, nic_train, capsys):
    write_set(tmp_path / "shapes", train=8, test=3)
    names = "[" + ",".join(CLASSES) + "]"
    nic_train([
        "codec=point_cloud", "data=furniture", "task=classification", "name=shapes", "data.set=shapes",
        f"data.root={tmp_path}", f"data.classes={names}", "data.points=32", "data.sampled=64", "data.batch_size=8",
        "logger=none", "trainer=cpu", "trainer.max_steps=6",
        "evaluation.save_images=1", "evaluation.datasets=[shapes]", "evaluation.workers=1",
    ])  # fmt: skip
    rows = read_results(tmp_path / "runs" / "shapes" / "results.parquet")
    assert len(rows) == 15
    assert {row["medium"] for row in rows} == {"cloud"}
    assert all(row["accuracy"] in (0.0, 1.0) and row["bits"] > 0 and row["bits_estimated"] > 0 for row in rows)
    assert {row["points"] for row in rows} == {8192}
    capsys.readouterr()
    report([tmp_path / "runs"], out=tmp_path / "page.html", figures=tmp_path / "figures")
    assert (tmp_path / "figures" / "rd_accuracy_shapes.png").is_file()
    page = (tmp_path / "page.html").read_text()
    assert "rate [bits per cloud]" in page
