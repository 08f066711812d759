"""Training of a codec that translates, by the command line: killed, damaged, on two ranks, and evaluated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nic_lightning.runs.record.results import read_results
from tests.end_to_end.test_survival import Training, after_lines, differences
from tests.tasks.discs import write_discs

STEPS = 24
RECIPE = (
    "codec=ui2icodec",
    "codec.base=4",
    "codec.widest=8",
    "codec.halvings=2",
    "codec.latents=6",
    "codec.hyper=4",
    "codec.style_dim=5",
    "task=translation",
    "task.warm_up=9",
    "task.learning_rate=1e-3",
    "data=domains",
    "data.domains=[blue,red]",
    "data.size=16",
    "data.batch_size=2",
    "data.samples_per_epoch=20",
    "callbacks=translations",
    "callbacks.translations.every_n_steps=12",
    f"trainer.max_steps={STEPS}",
    "trainer.log_every_n_steps=1",
    "checkpoint.every_n_steps=5",
    "logger=none",
)


@pytest.fixture(scope="module")
def discs(tmp_path_factory) -> tuple[str, str]:
    folder = write_discs(tmp_path_factory.mktemp("discs"), count=8)
    return f"data.train={folder}", f"data.validation={folder}"


@pytest.mark.slow
def test_killed_continued_damaged_and_measured(tmp_path, discs):
    whole = Training(tmp_path, "whole", (*RECIPE, *discs, "evaluation.limit=1"))
    whole.finish()
    killed = Training(tmp_path, "killed", (*RECIPE, *discs, "evaluation.datasets=[]"))
    for count in (7, 15):  # in the warm-up and after it
        assert killed.kill_when(after_lines(count, 0.01))
    last = killed.run / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    killed.finish()
    assert "last.ckpt is damaged" in (tmp_path / "killed.log").read_text()
    ends = [torch.load(t.run / "checkpoints" / "last.ckpt", weights_only=True) for t in (killed, whole)]
    for end in ends:
        assert end["global_step"] == STEPS
        del end["metrics_bytes"]  # times have more digits or fewer
        del end["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]  # batches fetched, some in vain
    assert list(differences(*ends)) == []
    assert killed.rows() == whole.rows()
    assert [row["step"] for row in whole.rows() if "train/auxiliary" in row] == list(range(STEPS))
    pictures = [sorted((t.run / "figures" / "translations").glob("*.png")) for t in (killed, whole)]
    assert [p.name for p in pictures[0]] == ["step_0000012.png", "step_0000024.png"]
    assert [p.read_bytes() for p in pictures[0]] == [p.read_bytes() for p in pictures[1]]
    rows = read_results(whole.run / "results.parquet")
    assert [(row["label"], row["psnr"] is None) for row in rows] == [("translate", True), ("autoencode", False)]
    assert all(row["bpp"] > 0 for row in rows)


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path, discs):
    ends = []
    for name, recipe in {"one": ["data.batch_size=4"], "two": ["data.batch_size=2", "trainer=ddp_cpu"]}.items():
        folder = tmp_path / name
        folder.mkdir()
        script = Path(__file__).with_name("two_translating_ranks.py")
        training = Training(folder, "run", (*RECIPE, *discs, "evaluation.datasets=[]", "task.warm_up=1", *recipe))
        training.command = [sys.executable, str(script), *training.command[3:], "trainer.max_steps=2"]
        training.finish()
        ends.append([torch.load(p, weights_only=True) for p in sorted(folder.glob("rank_*.pt"))])
    (one,), (first, second) = ends
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), f"ranks differ in {name}"
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5, msg=name)
    assert any(not torch.equal(one[n], one[n.replace("codec.", "network.")]) for n in one if n.startswith("codec."))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.domains=[blue,green]", "has no domain 'green'; it has blue, red"),
        ("data.domains=[blue]", "codec.domains is ['blue']; give two or more"),
        ("codec.domains=[cat,dog]", "give codec.domains=[blue,red]"),
        ("codec.size=32", "data.size is 16 and codec.size 32"),
        ("codec=modulated", "modulated does not translate"),
        ("task=rate_distortion", "give task=translation"),
        ("trainer.gradient_clip_val=1", "gradient clipping"),
        ("data=embedded", "give data=celeba_hq"),
    ],
)
def test_mistakes_are_sentences(override, sentence, tmp_path, discs):
    recipe = [part for part in RECIPE if not (override == "data=embedded" and part.startswith("data"))]
    recipe = [p for p in recipe if not (override == "codec=modulated" and p.startswith("codec"))]
    recipe = [p for p in recipe if not (override == "task=rate_distortion" and p.startswith("task"))]
    given = [] if override == "data=embedded" else discs
    command = [sys.executable, "-m", "nic_lightning.train", "name=x", *recipe, *given, override]
    if override == "data=embedded":
        command.append("codec.domains=[blue,red]")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr[-2000:]
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
