from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from nic_lightning import cli
from nic_lightning.analysis.efficiency import measure
from nic_lightning.callbacks.evaluation import classic_codecs, evaluate_into_run
from nic_lightning.codecs.loading import load_codec
from nic_lightning.errors import DataError, UserError
from nic_lightning.runs.results import read_results, write_results


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
    for taken in (run, export):
        assert nic_evaluate(f"run={export}", *few, f"run_dir={taken}") == 2
        sentence = f"{taken} is not for an export's results: it holds a codec; give run_dir=FOLDER.\n"
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


def test_a_failed_evaluation_says_so_in_its_record(tmp_path: Path, nic_evaluate, capsys) -> None:
    assert nic_evaluate("codec=webp", "evaluation.datasets=[nowhere/at/all]") == 2
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
        (["codec=jpeg", "evaluation.limit=0"], "evaluation.limit has to be at least 1, not 0."),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, nic_evaluate, tmp_path: Path, capsys) -> None:
    assert nic_evaluate(*arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
