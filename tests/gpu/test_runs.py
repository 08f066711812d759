"""Training on a GPU as a user starts it. On a CPU they only show that the tests themselves are right."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]
SMALL = ["data.crop=64", "data.batch_size=2", "logger=none", "trainer.log_every_n_steps=1", "evaluation.limit=1"]


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("gpu", marks=GPU)])
def accelerator(request) -> str:
    return request.param


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from nic_lightning.{script} import main; sys.exit(main())"
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"WANDB_MODE": "offline"})


def trained(folder: Path, accelerator: str, *arguments: str) -> list[dict]:
    """Lines of metrics.jsonl of a training in a folder, without times."""
    done = run(
        "train",
        *("codec=modulated", "codec.width=8", "codec.lambdas=[64,512]", *SMALL, f"run_dir={folder}"),
        *(f"trainer.accelerator={accelerator}", *arguments),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "time" not in key} for line in lines]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", pytest.param("16-mixed", marks=GPU)])
def test_a_training_is_evaluated_and_its_files_decode_elsewhere(tmp_path, accelerator, precision):
    if accelerator == "cpu" and precision == "16-mixed":
        pytest.skip("float16 is for GPUs")
    lines = trained(tmp_path / "run", accelerator, "trainer.max_steps=4", f"trainer.precision={precision}")
    losses = [value for line in lines for key, value in line.items() if key.startswith("train/loss")]
    assert losses
    assert all(map(math.isfinite, losses))
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert ("gpus" in environment and bool(environment["gpus"])) == (accelerator == "gpu")
    import pandas

    table = pandas.read_parquet(tmp_path / "run" / "results.parquet")
    assert len(table) == 2
    assert (table.bpp > 0).all()
    assert table.peak_memory_mib.notna().all() == (accelerator == "gpu")


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, accelerator):
    exact = ["deterministic=true", "trainer.precision=32-true", "evaluation.datasets=[]", "checkpoint.every_n_steps=2"]
    whole = trained(tmp_path / "whole", accelerator, "trainer.max_steps=6", *exact)
    trained(tmp_path / "parts", accelerator, "trainer.max_steps=4", *exact)
    parts = trained(tmp_path / "parts", accelerator, "trainer.max_steps=6", *exact)
    assert parts == whole


def test_translation_trains(tmp_path, accelerator):
    from PIL import Image
    from skimage import data

    for name, image in (("a", data.astronaut()), ("b", data.chelsea())):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(3):
            Image.fromarray(image[50 + 40 * k : 150 + 40 * k, 100:200]).save(tmp_path / "pets" / name / f"{k}.png")
    done = run(
        "train",
        *(
            "codec=i2icodec",
            "codec.size=32",
            "codec.base=4",
            "codec.widest=8",
            "codec.latents=6",
            "codec.halvings=2",
            "task=translation",
        ),
        *("data=domains", "data.domains=[a,b]", f"data.train={tmp_path / 'pets'}", "data.size=32", "data.batch_size=2"),
        *("task.warm_up=2", "trainer.max_steps=2", "logger=none", "evaluation.datasets=[]"),
        *(f"run_dir={tmp_path / 'run'}", f"trainer.accelerator={accelerator}"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"
