from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from nic_lightning import cli
from nic_lightning.analysis.efficiency import measure
from nic_lightning.callbacks.chosen import classic_codecs
from nic_lightning.callbacks.evaluation import evaluate_into_run
from nic_lightning.codecs.loading import load_codec
from nic_lightning.errors import DataError, UserError
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.record.results import read_results, write_results


def test_rows_of_codec_and_baselines(run: Path, images: list[Path], tmp_path: Path) -> None:
    codec, folder, seen = load_codec(run), tmp_path / "r", []
    rows = evaluate_into_run(
        codec,
        folder,
        run="r",
        experiment="e",
        datasets=[str(images[0].parent)],
        baselines=classic_codecs(["jpeg"]),
        points=["64", "4096"],
        save_images=1,
        on_item=lambda *what: seen.append(what),
    )
    learned = [row for row in rows if row["codec"] == "modulated"]
    assert {(row["item"], row["label"]) for row in learned} == {
        (i, p) for i in ("face", "grey") for p in ("64", "4096")
    }
    assert {row["codec"] for row in rows} == {"modulated", "jpeg"}
    assert all((row["run"], row["experiment"]) == ("r", "e") for row in rows)
    cost = measure(codec, (70, 90)).points[0]
    assert next(r for r in learned if r["item"] == "face")["macs"] == cost.analysis.macs + cost.synthesis.macs
    assert all(row["macs"] is None for row in rows if row["codec"] == "jpeg")
    assert len(seen) == len(rows)
    assert len(list((folder / "figures").rglob("*.png"))) == 3  # one original, two points
    assert len(read_results(folder / "results.parquet")) == len(rows)


def test_new_rows_replace_old_ones(run: Path, images: list[Path], tmp_path: Path) -> None:
    folder, dataset = tmp_path / "r", str(images[0].parent)
    stale = {"run": "r", "codec": "modulated", "dataset": dataset, "item": "gone", "label": "64"}
    write_results(folder / "results.parquet", [stale, stale | {"dataset": "other"}, stale | {"codec": "cae"}])
    new = evaluate_into_run(
        load_codec(run), folder, run="r", experiment="e", datasets=[dataset], points=["64"], limit=1, save_images=0
    )
    assert len(new) == 1
    kept = {(row["codec"], row["dataset"], row["item"]) for row in read_results(folder / "results.parquet")}
    assert kept == {("cae", dataset, "gone"), ("modulated", "other", "gone"), ("modulated", dataset, "face")}
    assert not (folder / "figures").exists()


def test_a_missing_data_set_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        evaluate_into_run(load_codec(run), tmp_path / "r", run="r", experiment="e", datasets=["nowhere/at/all"])
    assert not (tmp_path / "r").exists()


def test_unknown_points_and_learned_baselines(run: Path, images: list[Path], tmp_path: Path) -> None:
    jpeg = classic_codecs(["jpeg"])[0]
    with pytest.raises(UserError, match="has no operating point 'x'"):
        evaluate_into_run(
            jpeg, tmp_path, run="r", experiment="e", datasets=[str(images[0].parent)], points=["x"], save_images=0
        )
    with pytest.raises(UserError, match="without weights"):
        classic_codecs(["cae"])
    with pytest.raises(UserError, match="There is no codec 'jpg'"):
        classic_codecs(["jpg"])


def test_evaluate_a_run(run: Path, images: list[Path], tmp_path: Path, nic_evaluate, capsys) -> None:
    arguments = [f"run={run}", f"run_dir={tmp_path / 'out'}", f"evaluation.datasets=[{images[0].parent}]"]
    few = ["evaluation.save_images=0", "evaluation.limit=1", "evaluation.baselines=[webp]"]
    assert nic_evaluate(*arguments, *few) == 0
    measured = read_results(tmp_path / "out" / "results.parquet")
    assert {row["codec"] for row in measured} == {"modulated", "webp"}
    rows = [row for row in measured if row["codec"] == "modulated"]
    assert [(row["run"], row["experiment"], row["label"]) for row in rows] == [
        ("out", "tiny-experiment", label) for label in ("64", "512", "4096")
    ]
    assert "bpp" in capsys.readouterr().out


def test_an_export_is_left_as_it_is(run: Path, images: list[Path], tmp_path: Path, nic_evaluate, capsys) -> None:
    export = tmp_path / "mine"
    assert cli.main(["export", str(run), "-o", str(export)]) == 0
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    few = [f"evaluation.datasets=[{images[0].parent}]", "evaluation.limit=1", "evaluation.points=[64]"]
    assert nic_evaluate(f"run={export}", *few) == 0
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before
    (row,) = read_results(tmp_path / "runs" / "mine" / "results.parquet")
    assert (row["run"], row["experiment"], row["codec"]) == ("mine", "mine", "modulated")
    assert json.loads((tmp_path / "runs" / "mine" / "status.json").read_text())["state"] == "finished"
    capsys.readouterr()
    for taken, kind in ((run, "a training (nic-train)"), (export, "an exported codec (nic export)")):
        assert nic_evaluate(f"run={export}", *few, f"run_dir={taken}") == 2
        sentence = f"{taken} holds {kind}, which stays as it is; give name=NAME or run_dir=PATH.\n"
        assert capsys.readouterr().err == sentence
    assert cli.main(["report", str(tmp_path / "runs" / "mine"), "-o", str(tmp_path / "report.html")]) == 0


def test_evaluate_a_classic_codec_makes_a_run_of_its_own(images: list[Path], tmp_path: Path, nic_evaluate) -> None:
    label = classic_codecs(["webp"])[0].operating_points[0].label
    assert nic_evaluate("codec=webp", f"evaluation.datasets=[{images[0].parent}]", f"evaluation.points=[{label}]") == 0
    folder = tmp_path / "runs" / "webp"
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert yaml.safe_load((folder / "config.yaml").read_text())["name"] == "webp"
    assert {row["experiment"] for row in read_results(folder / "results.parquet")} == {"webp"}
    assert nic_evaluate("codec=webp", f"evaluation.datasets=[{images[0].parent}]", "evaluation.points=[q500]") == 2
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"  # still


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_evaluation_leaves_other_things_as_they_are(
    run: Path, images: list[Path], tmp_path: Path, nic_evaluate, capsys
) -> None:
    """A training, alive or not, an export, another evaluation and a sweep: each is named, and no file is touched."""
    runs = tmp_path / "runs"
    shutil.copytree(run, runs / "e8")
    RunRecord(runs / "e8").start({"name": "e8", "seed": 0, "trainer": {"max_steps": 9}}, [])
    RunRecord(runs / "sweep" / "seed=1").start({"name": "s", "trainer": {}}, [])
    assert cli.main(["export", str(run), "-o", str(runs / "mine")]) == 0
    few = [f"evaluation.datasets=[{images[0].parent}]", "evaluation.limit=1", "evaluation.points=[q50]"]
    assert nic_evaluate("codec=webp", *few) == 0
    before = files(runs)
    for taken, said in {
        "name=e8": "runs/e8 holds a training",
        f"run_dir={runs / 'e8'}": "e8 holds a training",
        "name=mine": "runs/mine holds an exported codec",
        "name=sweep": "runs/sweep holds the runs of a sweep",
        "name=webp": "runs/webp holds results of something else (codec._target_ is",
        "name=e8/more": "runs/e8/more lies inside the run",
    }.items():
        capsys.readouterr()
        assert nic_evaluate("codec=jpeg", *few, taken) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1
        assert files(runs) == before
    assert nic_evaluate("flow=dis_fast", "evaluation.datasets=[sintel]", "name=e8", f"root={flow_root(tmp_path)}") == 2
    assert "runs/e8 holds a training" in capsys.readouterr().err
    assert files(runs) == before


def flow_root(folder: Path) -> Path:
    """A root with one pair of frames of Sintel and its flow; nothing is decoded before the folder is looked at."""
    for name in ("final/a/frame_0001.png", "final/a/frame_0002.png", "flow/a/frame_0001.flo"):
        path = folder / "data" / "sintel" / "training" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder / "data"


def test_another_checkpoint_is_not_the_runs_result(run: Path, images: list[Path], tmp_path: Path, nic_evaluate) -> None:
    mine = tmp_path / "runs" / "mine"
    shutil.copytree(run, mine)
    shutil.copy(mine / "checkpoints" / "last.ckpt", mine / "checkpoints" / "previous.ckpt")
    few = [f"evaluation.datasets=[{images[0].parent}]", "evaluation.limit=1", "evaluation.points=[64]"]
    assert nic_evaluate(f"run={mine}/checkpoints/previous.ckpt", *few) == 0
    assert not (mine / "results.parquet").exists()
    (row,) = read_results(tmp_path / "runs" / "mine_previous" / "results.parquet")
    assert row["run"] == "mine_previous"
    assert nic_evaluate(f"run={mine}/checkpoints/last.ckpt", *few) == 0
    assert len(read_results(mine / "results.parquet")) == 1
    assert not (mine / "status.json").exists()  # its record is nic-train's


def test_a_failed_evaluation_says_so_in_its_record(tmp_path: Path, nic_evaluate, capsys) -> None:
    assert nic_evaluate("codec=webp", "evaluation.lpips=nowhere.pth") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    status = json.loads((tmp_path / "runs" / "webp" / "status.json").read_text())
    assert (status["state"], "nowhere" in status["error"]) == ("failed", True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give what to evaluate: run=RUN"),
        (["run=r", "codec=jpeg"], "not both"),
        (["codec=cae"], "Codec cae needs trained weights"),
        (["run=nowhere"], "nowhere does not exist"),
        (
            ["codec=jpeg", "evaluation.points=[q500]"],
            "no operating point 'q500'; the nearest of 19 are q95, q90, q85.",
        ),
        (["codec=jpeg", "device=cuda:99"], "There is no GPU for device=cuda:99"),
        (["codec=jpeg", "device=gpu"], "There is no device 'gpu'; give cpu, cuda, or cuda:1"),
        (["codec=jpeg", "evaluation.limit=x"], "evaluation.limit must be of type integer"),
        (["codec=jpeg", "evaluation.datasets=[nowhere/at/all]"], "evaluation.datasets: The folder"),
        (["codec=jpeg", "evaluation.baselines=[jpg]"], "no classic codec 'jpg'; the nearest of "),
        (["codec=jpeg", "evaluation.limit=0"], "evaluation.limit has to be at least 1, not 0."),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, nic_evaluate, tmp_path: Path, capsys) -> None:
    assert nic_evaluate(*arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
