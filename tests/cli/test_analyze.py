"""`nic-analyze` from the command line to the report."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from skimage import data

from nic_lightning import analyze, cli
from nic_lightning.analysis.latent_motion import studies
from nic_lightning.flow.io import encode
from nic_lightning.runs.record.latent_motion import names, read_latent_motion, select
from nic_lightning.runs.record.record import read_status

RANDOM = (
    "network=torchvision",
    "network.name=resnet18",
    "network.layers=[conv1,layer1.0.add]",
    "network.pretrained=false",
)
SMALL = ("limit=1", "size=96", "draws=3", "samples={translate: 5, rotate: 3, scale: 3, shear: 3}", "logger=none")
MATCHING = "matching={block: 9, radius: 9, latent_block: 3, latent_radius: 3}"


@pytest.fixture
def nic_analyze(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the console script's function in an empty working folder; the exit code."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["nic-analyze", *map(str, arguments)])
        try:
            analyze.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
        return 0

    return start


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A data root with a Middlebury pair whose scene moves 3 pixels to the left and 2 down."""
    root = tmp_path / "data" / "middlebury"
    frames = root / "other-data" / "Cat"
    frames.mkdir(parents=True)
    for number, (top, left) in {10: (2, 0), 11: (0, 3)}.items():
        Image.fromarray(data.chelsea()[top : top + 128, left : left + 144]).save(frames / f"frame{number}.png")
    flow = np.tile(np.array([-3, 2], np.float32), (128, 144, 1))
    (root / "other-gt-flow" / "Cat").mkdir(parents=True)
    (root / "other-gt-flow" / "Cat" / "flow10.flo").write_bytes(encode(flow))
    return root.parent


def test_the_studies_are_those_that_there_are() -> None:
    assert analyze.STUDIES == studies.STUDIES
    assert all(hasattr(studies.Study, f"_{name}") for name in studies.STUDIES)


def test_an_analysis_is_a_run_and_a_section_of_the_report(nic_analyze, capsys: pytest.CaptureFixture[str]) -> None:
    assert nic_analyze(*RANDOM, *SMALL, MATCHING, "name=motion") == 0
    folder = Path("runs/motion")
    assert read_status(folder)["state"] == "finished"
    assert {"config.yaml", "environment.json", "overrides.yaml"} < {path.name for path in folder.iterdir()}
    table = read_latent_motion(folder)
    assert names(table["study"]) == ["curves", "histogram", "fields"]
    curves = select(table, study="curves", motion="translate", layer="layer1.0.add")
    assert curves["value"].tolist() == [-30, -15, 0, 15, 30]
    assert curves["nrmse"][2] == 0
    assert set(curves["stride"]) == {4}
    drawn = select(table, study="histogram", layer="conv1")
    assert drawn["draw"].tolist() == [0, 1, 2]
    assert np.isfinite(drawn["shear_y"]).all()
    assert select(table, study="fields", layer="frame")["epe"][0] < 0.5  # by block matching
    assert sorted(path.name for path in (folder / "latent_motion").iterdir()) == [
        "curves.png", "fields.png", "histogram.png", "panels.png",
    ]  # fmt: skip
    capsys.readouterr()
    assert nic_analyze(*RANDOM, *SMALL, MATCHING, "name=motion") == 0
    assert "is finished already" in capsys.readouterr().out
    assert nic_analyze(*RANDOM, *SMALL, MATCHING, "name=motion", "mask=strict") == 2
    assert "holds another analysis: mask is 'paper' there and 'strict' here" in capsys.readouterr().err
    assert cli.main(["report", "runs", "-o", "page.html"]) == 0
    assert "motion analyses latent motion" in capsys.readouterr().out
    page = Path("page.html").read_text()
    assert "<h2>Latent motion</h2>" in page
    assert all(f'alt="{name}" style' in page for name in ("curves", "histogram", "fields", "panels"))
    assert "resnet18, random weights" in page
    assert cli.main(["runs", "list", "runs"]) == 0
    assert "finished" in capsys.readouterr().out


def test_a_multirun_has_a_folder_for_each_job(nic_analyze) -> None:
    assert nic_analyze("-m", *RANDOM, *SMALL, "study=histogram", "mask=paper,strict", "name=m", "draws=1") == 0
    tables = [read_latent_motion(path.parent) for path in sorted(Path("runs/m").glob("*/latent_motion.parquet"))]
    assert [names(table["mask"]) for table in tables] == [["paper"], ["strict"]]


def test_motion_in_a_trained_codec(nic_analyze, run: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec = ("network=codec", f"network.run={run}", f"root={pairs}", "pairs.dataset=middlebury", "size=96")
    wished = ("study=[codec_motion,fields]", "pairs.shifts=2", "pairs.points=512", "logger=none", MATCHING)
    assert nic_analyze(*codec, *wished, "name=codec") == 0
    table = select(read_latent_motion(Path("runs/codec")), study="codec_motion")
    assert names(table["label"]) == ["512"]
    ways = select(table, motion="flow", layer="")
    assert names(ways["way"]) == ["frame", "still", "latent motion", "frame motion", "frame residual"]
    assert np.isfinite(ways["bpp"]).all()
    assert (ways["bpp_ideal"] > 0).all()
    latents = select(table, motion="flow", layer="y")
    errors = dict(zip(latents["way"], latents["nrmse"], strict=True))
    assert (
        errors["frame motion"] < 1e-5 < errors["still"]
    )  # the moved reference holds all of the frame, but for rounding
    frames = select(table, motion="flow", layer="frame", way="latent motion")
    assert frames["nrmse"][0] < 1e-6  # a shift by whole pixels is a copy
    still = select(table, motion="shift", layer="y", way="still")
    assert still["value"].tolist() == [0, 1]
    assert still["nrmse"][0] == 0 < still["nrmse"][1]
    made = {path.stem for path in Path("runs/codec/latent_motion").iterdir()}
    assert made == {"codec_layers", "codec_shifts", "codec_rates", "fields"}
    assert "codec_motion: Cat" in capsys.readouterr().err


def test_a_recorded_analysis_is_in_wandb(nic_analyze, monkeypatch: pytest.MonkeyPatch) -> None:
    from nic_lightning.runs.loggers import wandb as loggers

    seen: dict[str, object] = {}
    monkeypatch.setattr(loggers, "wandb_logger", lambda folder, **options: seen.update(folder=folder, **options) or "w")
    monkeypatch.setattr(loggers, "log_results_to_wandb", lambda *given: seen.update(given=given))
    monkeypatch.setattr(loggers, "finish_wandb", lambda logger: seen.update(ended=logger))
    few = [option for option in SMALL if option != "logger=none"]
    assert nic_analyze(*RANDOM, *few, "study=curves", "samples={shear: 1}", "name=logged") == 0
    logger, rows, figures, images, tables = seen["given"]  # pyright: ignore[reportGeneralTypeIssues]
    assert (logger, rows, images, seen["ended"], str(seen["folder"])) == ("w", [], {}, "w", "runs/logged")
    assert [path.name for path in figures.values()] == ["curves.png"]
    assert {row["layer"] for row in tables["latent_motion"]} == {"frame", "conv1", "layer1.0.add"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["study=curve"], "There is no study 'curve'"),
        (["study=[]"], "study is empty"),
        (["mask=loose"], "mask=loose is no mask; there are: paper, strict, interior"),
        (["size=4"], "size has to be at least 8, not 4"),
        (["pairs.shifts=-1"], "pairs.shifts has to be at least 0"),
        (["images=nowhere"], "There is no data set or folder 'nowhere'"),
        (["study=codec_motion"], "study=codec_motion is of a trained codec"),
        (["network=codec", "network.run=runs/none"], "network.run=runs/none does not exist"),
        (["network.name=resnet19"], "torchvision has no network 'resnet19'"),
        (["layer=conv2"], "layer=conv2 is none of the layers of the analysis; there are: conv1, layer1.0.add"),
        (["network.colour=red"], "colour"),
    ],
)
def test_mistakes_are_one_sentence(nic_analyze, capsys: pytest.CaptureFixture[str], arguments, sentence) -> None:
    network = () if arguments[0].startswith("network=") else RANDOM
    assert nic_analyze(*network, *SMALL, *arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert sentence in said[-1]
    assert not Path("runs/latent_motion_torchvision/latent_motion.parquet").exists()


def test_other_runs_stay_as_they_are(nic_analyze, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert nic_analyze(*RANDOM, *SMALL, f"run_dir={run}") == 2
    assert "holds a training (nic-train), which stays as it is" in capsys.readouterr().err
