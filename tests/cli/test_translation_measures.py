"""`nic-evaluate` and `nic grid` with a codec that translates, and the page that shows what they found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from nic_lightning.callbacks.translation_evaluation import TranslationWishes, translate_into_run
from nic_lightning.cli import main
from nic_lightning.codecs.loading import load_codec
from nic_lightning.commands import grid
from nic_lightning.errors import UserError
from nic_lightning.metrics.lpips import LpipsAlex
from nic_lightning.runs.record.translation import Unfinished, read_translation
from nic_lightning.train import draw_translations

SIZE, CELL = 32, 96


@pytest.fixture
def domains(tmp_path: Path, monkeypatch, no_network) -> Path:
    """Images of two domains below the data root, and weights for LPIPS; no network."""
    monkeypatch.setenv("PATH", "")
    numbers = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for name, colour in (("cat", (200, 60, 60)), ("dog", (60, 60, 200))):
            folder = tmp_path / "data" / "pets" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                noise = numbers.normal(0, 30, (40, 44, 3)) + colour
                Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    torch.manual_seed(0)
    (tmp_path / "data" / "weights").mkdir()
    torch.save(LpipsAlex().state_dict(), tmp_path / "data" / "weights" / "lpips.pt")
    monkeypatch.setenv("NIC_LPIPS", str(tmp_path / "data" / "weights" / "lpips.pt"))
    monkeypatch.setenv("NIC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "data"


FOLDERS = ("translation.train=pets/train", "translation.validation=pets/val")


def test_a_run_is_measured_and_shown(unified, domains, tmp_path, nic_evaluate, capsys):
    run = tmp_path / "runs" / "a"
    shutil.copytree(unified, run)
    more = ["evaluation.datasets=[]", "translation.extractors=[alexnet]", "translation.outputs=2"]
    wanted = [f"run={run}", *FOLDERS, *more, "translation.through=[jpeg_optimized,jpeg@q50]", "translation.sources=2"]
    assert nic_evaluate(*wanted) == 0
    captured = capsys.readouterr()
    out = captured.out
    assert "tiny-experiment: dog to cat, latent" in captured.err.splitlines()
    rows = read_translation(run)
    systems = list(dict.fromkeys(row["system"] for row in rows))
    assert systems[0] == "tiny-experiment"
    assert systems[-1] == "real images"
    assert [name for name in systems if name.endswith("jpeg q50")] == ["cbt jpeg q50", "cat jpeg q50"]
    assert len(systems) == 6
    assert [(r["source"], r["target"], r["guide"]) for r in rows if r["system"] == systems[0]] == [
        (a, b, g) for a, b in (("dog", "cat"), ("cat", "dog")) for g in ("latent", "reference")
    ]
    for row in rows:
        assert {"fid_alexnet", "kid_alexnet", "accuracy_alexnet"} <= row.keys()
        assert (row["train"], row["size"]) == ("pets/train", SIZE)
    own = next(row for row in rows if row["system"] == systems[0])
    assert own["bpp"] > 0
    assert (own["images"], own["outputs"], own["real"]) == (3, 6, 6)
    assert any(line.split()[:2] == ["tiny-experiment", "latent"] for line in out.splitlines())
    assert "Note: fid_alexnet: 6 images are too few for 256 features" in out
    assert out.splitlines()[-1] == f"Results: {run / 'translation.json'}"

    grids = {}
    for path in (run / "figures" / "translation").iterdir():
        with Image.open(path) as picture:
            grids[path.name] = picture.size
    assert set(grids) == {f"{kind}_{name}.png" for kind in ("latent", "reference") for name in ("cat", "dog")}
    assert grids["latent_cat.png"] == (8 + 7 * (CELL + 2), 2 * (CELL + 2))
    assert grids["reference_cat.png"] == (8 + 4 * (CELL + 2), 8 + 3 * (CELL + 2))

    assert main(["report", str(run), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert '<section id="translations"' in page
    assert page.count('src="data:image/png;base64,') == 1 + 4  # the page's script has one
    assert "cat jpeg q50" in page
    assert "No run holds results" not in page

    assert nic_evaluate(*wanted[:-2], "translation.seed=3") == 0  # again, without other codecs
    again = read_translation(run)
    assert len(again) == len(rows)
    assert {row["seed"] for row in again if row["system"] == systems[0]} == {3}


def test_systems_that_are_done_are_kept_when_another_is_not(unified, domains, tmp_path):
    class Stopped(Exception):
        pass

    def stop(system: str, *task: str) -> None:
        if system.startswith("cbt"):
            raise Stopped

    wishes = TranslationWishes("pets/train", "pets/val", through=["jpeg@q50"], outputs=2, limit=1)
    with pytest.raises(Stopped):
        translate_into_run(load_codec(unified), tmp_path / "out", "a", wishes, progress=stop)
    assert [row["system"] for row in read_translation(tmp_path / "out")] == ["a"] * 4
    whole = translate_into_run(load_codec(unified), tmp_path / "whole", "a", wishes)
    measured: list[str] = []
    rest = translate_into_run(
        load_codec(unified), tmp_path / "out", "a", wishes, progress=lambda system, *task: measured.append(system)
    )
    assert measured == ["cbt jpeg q50"] * 3 + ["cat jpeg q50"] * 4  # one was done before
    assert rest == whole
    assert read_translation(tmp_path / "out") == read_translation(tmp_path / "whole")
    assert not list((tmp_path / "out").glob("*unfinished*"))
    Unfinished(tmp_path / "out", "x").keep({"system": "a", "guide": None, "source": "b", "target": "c", "bpp": 1.0})
    assert Unfinished(tmp_path / "out", "x").find("a", None, "b", "c")
    assert Unfinished(tmp_path / "out", "y").find("a", None, "b", "c") is None  # of another codec or wish


def test_two_runs_of_one_codec_are_told_apart(unified, run, domains, tmp_path):
    folders = [tmp_path / place / "mod" for place in ("a", "b")]
    for folder in folders:
        shutil.copytree(run, folder)
    through = [f"{folder}@64" for folder in folders]
    wishes = TranslationWishes("pets/train", "pets/val", through=through, outputs=2, limit=1)
    rows = translate_into_run(load_codec(unified), tmp_path / "out", "a", wishes)
    named = ["cbt modulated 64", "cat modulated 64"]
    named += [f"{name} ({through[1]})" for name in named]
    assert list(dict.fromkeys(row["system"] for row in rows)) == ["a", *named, "real images"]
    assert grid._names([*folders, unified / "checkpoints" / "last.ckpt"]) == [*map(str, folders), "last"]


def test_what_cannot_be_measured_is_one_sentence(run, unified, domains, tmp_path, nic_evaluate, capsys):
    bpg = [*FOLDERS, "translation.extractors=[]", "translation.through=[bpg]"]
    for more, sentence in (([FOLDERS[0]], "translation.train and .validation, both"), (bpg, "bpgenc, which is not on")):
        assert nic_evaluate(f"run={unified}", "evaluation.datasets=[]", f"run_dir={tmp_path / 'out'}", *more) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert len(err.strip().splitlines()) == 1
    codec, both = load_codec(unified), {"train": "pets/train", "validation": "pets/val"}
    for arguments, sentence in (
        ({"extractors": ["stargan"]}, "inception_v3_google-0cc3c7bd.pth"),
        ({"extractors": ["vgg"]}, "no feature extractor 'vgg'"),
        ({"validation": "pets/test"}, "no folder pets/test"),
        ({"through": ["jpeg@q3"]}, "no operating point 'q3'"),
        ({"outputs": 1}, "1 outputs"),
    ):
        with pytest.raises(UserError, match=sentence):
            translate_into_run(codec, tmp_path / "out", "a", TranslationWishes(**both | arguments))
    with pytest.raises(UserError, match="a is the receiver's half of a codec"):
        translate_into_run(codec.receiver(), tmp_path / "out", "a", TranslationWishes(**both))
    with pytest.raises(UserError, match="Codec modulated does not translate"):
        translate_into_run(load_codec(run), tmp_path / "out", "a", TranslationWishes(**both))
    assert not (tmp_path / "out" / "translation.json").exists()


def test_a_codec_without_a_bottleneck_is_measured_and_makes_no_files(
    unified, domains, images, tmp_path, nic_evaluate, capsys
):
    """StarGAN v2, and the thesis' ablation T + A: nothing is rounded, so a file would be of another codec."""
    run = tmp_path / "runs" / "plain"
    shutil.copytree(unified, run)
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["codec"]["config"]["decoder_input"] = "continuous"
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    assert nic_evaluate(f"run={run}", *FOLDERS, "translation.extractors=[alexnet]", "translation.outputs=2") == 0
    assert "ui2icodec makes no files; only its translations are measured." in capsys.readouterr().err
    own = [row for row in read_translation(run) if row["system"] == "tiny-experiment"]
    assert [(row["guide"], row["bpp"]) for row in own] == [("latent", None), ("reference", None)] * 2
    assert all(row["lpips_diversity"] != 0 and 0 <= row["accuracy_alexnet"] <= 1 for row in own)
    assert main(["grid", str(run), "--images", "pets/val", "-o", str(tmp_path / "grid")]) == 0
    capsys.readouterr()
    compress = ["compress", *map(str, images), "-o", str(tmp_path / "o"), "--run", str(run), "--mode", "translate"]
    for ask in (lambda: main(compress), lambda: nic_evaluate(f"run={run}", f"run_dir={tmp_path / 'out'}")):
        assert ask() == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "has no bottleneck (codec.decoder_input=continuous) and makes no files: measure its translations" in line
    assert not (tmp_path / "o").exists()
    assert not (tmp_path / "out").exists()


def test_pictures_of_several_rates(unified, run, domains, tmp_path, capsys):
    out = tmp_path / "pictures"
    command = ["grid", str(unified), str(unified), str(unified), "--images", "pets/val", "-o", str(out)]
    assert main([*command, "--sources", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out / f"rate_{name}.png") for name in ("cat", "dog")]
    with Image.open(out / "rate_cat.png") as picture:
        assert picture.width == 8 + 4 * (CELL + 2)
        assert picture.height > 8 + 3 * (CELL + 2)  # titles
        pixels = np.asarray(picture)
    columns = [pixels[:, 8 + c * (CELL + 2) : 8 + c * (CELL + 2) + CELL] for c in (1, 2, 3)]
    assert all(np.array_equal(columns[0], column) for column in columns)
    assert main([*command, "--sources", "2"]) == 2
    assert "use --overwrite" in capsys.readouterr().err
    single = ["grid", str(unified), "--images", "pets/val", "-o", str(tmp_path / "one")]
    assert main(single) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["latent_cat.png", "latent_dog.png", "reference_cat.png", "reference_dog.png"]
    capsys.readouterr()
    for arguments, sentence in (
        (["grid", str(run), "--images", "pets/val"], "does not translate; nic grid is for"),
        (["grid", str(unified), "--images", "pets/none"], "no folder pets/none"),
        (["grid", str(unified), "--images", "pets/val", "--sources", "0"], "--sources is 0"),
    ):
        assert main([*arguments, "-o", str(tmp_path / "no")]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_pictures_after_training(unified, domains, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(unified, run)
    data = {"validation": "pets/val", "train": "pets/train"}
    draw_translations(OmegaConf.create({"name": "a", "codec": {"width": 8}, "data": data}), run, None)
    assert not (run / "figures").exists()
    draw_translations(OmegaConf.create({"name": "a", "codec": {"domains": ["cat"]}, "data": data}), run, None)
    names = sorted(path.name for path in (run / "figures" / "translation").iterdir())
    assert names == ["latent_cat.png", "latent_dog.png", "reference_cat.png", "reference_dog.png"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"schema": 2, "rows": []}',
        '{"schema": 1, "rows": [{"guide": "latent"}]}',
        '{"schema": 1, "rows": [{"system": "a", "bpp": NaN}]}',
        '{"schema": 1, "rows": [{"system": "a", "bpp": [1]}]}',
        json.dumps({"schema": 1, "rows": [{"system": 2000 * "a"}]}),
    ],
)
def test_a_damaged_table_is_told_on_the_page(tmp_path: Path, content: str, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("")
    (folder / "translation.json").write_text(content)
    assert main(["report", str(folder), "-o", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "translation.json is damaged" in page
    assert '<section id="translations"' not in page
