"""A run that is killed and moved away goes on from its folder alone, and a finished one can be had again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from .conftest import Desk

RECIPE = (
    "codec=modulated",
    "codec.width=8",
    "codec.lambdas=[64,512]",
    "data=folder",
    "data.train=photos",
    "data.validation=photos",
    "data.validation_crop=64",
    "data.samples_per_epoch=16",
    "data.batch_size=2",
    "data.crop=32",
    "trainer.max_steps=40",
    "trainer.log_every_n_steps=1",
    "checkpoint.every_n_steps=10",
    "evaluation.datasets=[]",
    "deterministic=true",
)


@pytest.fixture(scope="module")
def photos(desk: Desk) -> Path:
    """A data root with a folder of photographs."""
    folder = desk.folder / "sets" / "photos"
    folder.mkdir(parents=True)
    for number, image in enumerate((data.astronaut(), data.coffee(), np.ascontiguousarray(data.rocket()))):
        Image.fromarray(image[:200, :200]).save(folder / f"{number}.png")
    return folder.parent


@pytest.fixture(scope="module")
def reference(desk: Desk, photos: Path) -> Path:
    """The run that nobody touches."""
    done = desk("nic-train", *RECIPE, "name=reference", f"data.root={photos}", "logger=none")
    assert done.returncode == 0, done.stderr
    assert "Deterministic: the same result again on this hardware" in done.stderr
    return desk.folder / "runs" / "reference"


def metrics(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def killed(desk: Desk, photos: Path) -> Path:
    """A run with W&B that dies without notice after its second checkpoint."""
    program = shutil.which("nic-train", path=sysconfig.get_path("scripts"))
    run, recipe = desk.folder / "runs" / "killed", [*RECIPE, "name=killed", f"data.root={photos}"]
    unset = {"WANDB_MODE", "WANDB_API_KEY", "NIC_DATA"}
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    environment |= {"NETRC": os.devnull, "OMP_NUM_THREADS": "1"}
    with (desk.folder / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            [program or "nic-train", *recipe], cwd=desk.folder, env=environment, stdout=log, stderr=log
        )
        try:
            while process.poll() is None and '"step": 24' not in _text(run / "metrics.jsonl"):
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGSTOP)  # it waits while we look at it
            refused = desk("nic", "resume", run)
        finally:
            process.kill()
            process.wait()
    assert refused.returncode == 2, (desk.folder / "killed.log").read_text()
    assert f"is being trained by process {process.pid}" in refused.stderr
    return run


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow  # three trainings
def test_a_killed_run_goes_on_from_its_folder_alone(desk: Desk, photos: Path, reference: Path):
    run = killed(desk, photos)
    listed = json.loads(desk("nic", "runs", "list", "--json").stdout)
    states = {line["name"]: line["state"] for line in listed}
    assert states == {"runs/killed": "interrupted", "runs/reference": "finished"}
    run_id = (run / "wandb_id").read_text()
    moved, root = desk.folder / "elsewhere" / "it's moved", desk.folder / "other sets"
    moved.parent.mkdir()
    run.rename(moved)
    photos.rename(root)
    elsewhere = Desk(desk.folder / "elsewhere")
    done = elsewhere("nic", "resume", "it's moved", "data.root='../other sets'")
    root.rename(photos)
    assert done.returncode == 0, done.stderr
    assert metrics(moved) == metrics(reference)
    assert not run.exists()
    assert (moved / "wandb_id").read_text() == run_id
    facts = json.loads((moved / "environment.json").read_text())
    assert facts["numerics"]["deterministic_algorithms"] is True
    assert facts["numerics"]["threads"] == 1
    assert len(facts["earlier"]) == 1
    overrides = (moved / "overrides.yaml").read_text()
    assert "name=killed" in overrides
    assert str(root) in overrides
    again = elsewhere("nic", "resume", "it's moved")
    assert (again.returncode, again.stdout.count("is finished already")) == (0, 1)


@pytest.mark.slow  # a training of its own
def test_a_run_is_made_again(desk: Desk, reference: Path, tmp_path: Path):
    git = json.loads((reference / "environment.json").read_text())["git"]
    if git is None or git["untracked"] or git["dirty"]:
        pytest.skip("the checkout has uncommitted changes, with which the code at the commit may not run")
    printed = desk("nic", "runs", "reproduce", reference)
    assert f"checkout --quiet --detach {git['commit']}" in printed.stdout
    done = desk("nic", "runs", "reproduce", reference, "--start", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "All 40 logged losses are equal, to the last digit." in done.stdout
    assert metrics(tmp_path / "again" / "run") == metrics(reference)
