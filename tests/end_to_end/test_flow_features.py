"""Features from the first step to the flow that is found with them, by the console scripts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from nic_lightning.flow.io import read_flow

RECIPE = ("experiment=flow_features_small", "name=features", "data.crop=16", "data.samples_per_epoch=8", "logger=none")
QUICK = ("data.validation_side=60", "trainer.max_steps=2", "trainer.log_every_n_steps=1", "data.batch_size=2")


@pytest.mark.slow
def test_features_are_trained_resumed_and_used(desk):
    trained = desk("nic-train", *RECIPE, *QUICK)
    assert trained.returncode == 0, trained.stderr
    assert "Learned weights of the triple cost" in trained.stdout
    resumed = desk("nic", "resume", "runs/features", "trainer.max_steps=4")
    assert resumed.returncode == 0, resumed.stderr
    lines = [json.loads(line) for line in (desk.folder / "runs/features/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == [0, 1, 2, 3]
    assert any("val/embedded_valid/epe_triple" in line for line in lines)
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    big = np.asarray(Image.fromarray(noise).resize((96, 72), Image.Resampling.BICUBIC))
    for number in range(3):
        (desk.folder / "moving").mkdir(exist_ok=True)
        Image.fromarray(np.roll(big, 2 * number, 1)).save(desk.folder / "moving" / f"{number}.png")
    settings = ("--set", "ratio=1", "--set", "max_displacement=4", "--set", "lambdas=learned", "--config", "simplified")
    found = desk("nic", "flow", "moving", "-o", "flow", "--weights", "runs/features", *settings)
    assert found.returncode == 0, found.stderr
    assert np.median(read_flow(desk.folder / "flow" / "1.flo")[..., 0]) == pytest.approx(2, abs=0.5)
    wrong = desk("nic-train", *RECIPE[:1], "name=wrong", "data=embedded")
    assert wrong.returncode == 2
    assert "give data=flow" in wrong.stderr
    wrong = desk("nic", "flow", "moving", "-o", "other", "--weights", "runs/wrong", *settings)
    assert wrong.returncode == 2
    assert "There are no feature weights at" in wrong.stderr
