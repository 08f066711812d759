"""`nic critical_points`: table, figure and clouds to look at, and the report's section of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from nic_lightning import cli
from nic_lightning.codecs.point_cloud import PointCloudCodec
from nic_lightning.report.page.critical_points import critical_plots, critical_table
from nic_lightning.report.page.html import write_report
from nic_lightning.runs.index.index import Run
from nic_lightning.runs.record.critical_points import MAX_CLOUDS
from tests.cli.conftest import saved
from tests.data.shapes import CLASSES, write_set


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("data") / "shapes", train=1, test=2)


@pytest.fixture(scope="module")
def cloud_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    arguments = {"size": "micro", "classes": list(CLASSES), "points": 64, "reconstruct": True}
    codec = PointCloudCodec(**arguments).eval()
    codec.update_tables()
    return saved(codec, arguments, tmp_path_factory.mktemp("runs") / "clouds")


def test_points_of_each_cloud(cloud_run: Path, clouds: Path, tmp_path: Path, capsys) -> None:
    command = ["critical_points", str(cloud_run), "--clouds", str(clouds)]
    assert cli.main([*command, "--out", str(tmp_path / "out"), "--limit", "3"]) == 0
    with (tmp_path / "out" / "clouds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["true"] for row in rows] == ["ball", "ball", "box"]
    for row in rows:
        assert row["dataset"] == "shapes"
        assert 1 <= int(row["minimal"]) <= int(row["critical"]) <= 16 < int(row["points"]) == 64
    assert "3 clouds of shapes: of 64.0 points a cloud" in capsys.readouterr().out
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_clouds_to_look_at_and_their_page(cloud_run: Path, clouds: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["critical_points", str(cloud_run), "--clouds", str(clouds), "--overwrite"]) == 0
    folder = cloud_run / "critical_points"
    shown = json.loads((folder / "shown.json").read_text())["clouds"]
    assert [cloud["true"] for cloud in shown] == list(CLASSES[:4])
    for cloud in shown:
        seen = {tuple(point) for point in cloud["points"]}
        assert {tuple(point) for point in cloud["minimal"]} <= {tuple(point) for point in cloud["critical"]} <= seen
        assert len(cloud["reconstruction"]) == 64
    with Image.open(folder / "clouds.png") as picture:
        assert min(picture.size) > 300
    run = Run(cloud_run, "clouds")
    assert [title.split(",")[0] for title, _ in critical_plots([run])] == [f"clouds: {kind}" for kind in CLASSES[:4]]
    assert "<td>shapes</td>" in critical_table([run])
    (cloud_run / "metrics.jsonl").touch()
    write_report([cloud_run], tmp_path / "report.html")
    assert 'id="critical-points"' in (tmp_path / "report.html").read_text()
    assert not run.problems


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"clouds": 5}',
        b'{"clouds": [{"item": "a", "true": "b", "decided": "c", "bits": 1, "points": [[0, 1]]}]}',
        b'{"clouds": [{"item": "a", "true": "b", "decided": "c", "bits": 1, "points": [[0, 1, NaN]]}]}',
        b'{"clouds": [{"item": "a", "true": "b", "decided": "c", "bits": 1, "points": ["abc"]}]}',
        b'{"clouds": [{"item": "a", "true": "b", "decided": "c", "bits": Infinity}]}',
        b'{"clouds": [' + b"[" * 100_000,
        b"x" * (4 * 2**20 + 1),
    ],
)
def test_foreign_clouds_are_a_problem_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "critical_points").mkdir()
    (tmp_path / "critical_points" / "shown.json").write_bytes(content)
    (tmp_path / "critical_points" / "clouds.csv").write_bytes(b"\xff" if content else b"item,bits\na,?\n")
    run = Run(tmp_path, "foreign")
    assert (critical_plots([run]), critical_table([run])) == ([], "")
    assert len(run.problems) == 2
    assert all("not shown" in str(problem) for problem in run.problems)


def test_no_page_holds_any_number_of_clouds(tmp_path: Path) -> None:
    (tmp_path / "critical_points").mkdir()
    cloud: dict[str, Any] = {"item": "a", "true": "<b>", "decided": "c", "bits": 1, "points": [[0, 1, 2]]}
    (tmp_path / "critical_points" / "shown.json").write_text(json.dumps({"clouds": [cloud] * 100}))
    assert len(critical_plots([Run(tmp_path, "many")])) == MAX_CLOUDS


def test_other_codecs_have_none(run: Path, clouds: Path, capsys) -> None:
    assert cli.main(["critical_points", str(run), "--clouds", str(clouds)]) == 2
    assert "codec=point_cloud" in capsys.readouterr().err


def test_a_checkpoint_needs_a_place(cloud_run: Path, capsys) -> None:
    assert cli.main(["critical_points", str(cloud_run / "checkpoints" / "last.ckpt")]) == 2
    assert "--out" in capsys.readouterr().err
