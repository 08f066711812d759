"""Two processes with gradients averaged between them against one process with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nic_lightning.runs.record.results import read_results

SCRIPT = Path(__file__).with_name("two_ranks.py")
RECIPE = (
    "name=run",
    "codec=modulated",
    "codec.width=8",
    "codec.lambdas=[64,512]",
    "data.crop=32",
    "data.samples_per_epoch=32",
    "data.validation_limit=3",  # the second rank has fewer
    "trainer.max_steps=20",
    "trainer.log_every_n_steps=1",
    "evaluation.limit=3",
    "evaluation.baselines=[webp]",
    "evaluation.save_images=2",
    "logger=none",
)


def environment(**more: str) -> dict[str, str]:
    unset = {"WANDB_MODE", "NIC_DATA", "LOCAL_RANK", "RANK", "WORLD_SIZE"}
    return {k: v for k, v in os.environ.items() if k not in unset} | {"OMP_NUM_THREADS": "1"} | more


def train(folder: Path, *recipe: str, noise: str = "off") -> None:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *RECIPE, *recipe],
        cwd=folder,
        env=environment(NOISE=noise),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train(one, "data.batch_size=4")
    train(two, "data.batch_size=2", "trainer=ddp_cpu")
    single = torch.load(one / "rank_0.pt", weights_only=True)["codec"]
    ranks = [torch.load(two / f"rank_{i}.pt", weights_only=True) for i in (0, 1)]
    for name, value in single.items():
        assert torch.equal(ranks[0]["codec"][name], ranks[1]["codec"][name]), f"ranks differ in {name}"
        torch.testing.assert_close(ranks[0]["codec"][name], value, atol=1e-5, rtol=1e-5, msg=name)
    validated = [[r for r in rows(folder / "runs" / "run") if "val/embedded_valid/loss" in r] for folder in (one, two)]
    assert len(validated[0]) == len(validated[1]) >= 2
    for a, b in zip(*validated, strict=True):
        assert {k: v for k, v in b.items() if k != "time"} == pytest.approx(
            {k: v for k, v in a.items() if k != "time"}, rel=1e-4
        )
    results = [read_results(folder / "runs" / "run" / "results.parquet") for folder in (one, two)]
    keys = ("codec", "dataset", "item", "label")
    assert [[row[k] for k in keys] for row in results[1]] == [[row[k] for k in keys] for row in results[0]]
    webp = [[(row["bytes"], row["psnr"]) for row in table if row["codec"] == "webp"] for table in results]
    assert webp[0] == webp[1]
    pictures = [sorted(p.name for p in (f / "runs/run/figures/reconstructions").rglob("*.png")) for f in (one, two)]
    assert pictures[0] == pictures[1] != []


@pytest.mark.slow
def test_ranks_draw_noise_of_their_own(tmp_path):
    two = tmp_path / "two"
    train(two, "data.batch_size=2", "trainer=ddp_cpu", "evaluation.datasets=[]", noise="on")
    ranks = [torch.load(two / f"rank_{i}.pt", weights_only=True) for i in (0, 1)]
    assert not set(ranks[0]["noise"]) & set(ranks[1]["noise"])
    for name, value in ranks[0]["codec"].items():
        assert torch.equal(value, ranks[1]["codec"][name]), f"ranks differ in {name}"
