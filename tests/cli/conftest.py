from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.codecs.slimmable import SlimmableAutoencoder

ARGUMENTS: dict[str, Any] = {"width": 8, "lambdas": [64.0, 512.0, 4096.0]}
SLIM = {"widths": [4, 8, 16], "lambdas": 500.0}
LAMBDAS = [100.0, 500.0, 2500.0]
"""Of the slimmable codec after training, as lambda-scheduling leaves them: in the state, not in the config."""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a codec that a few steps have taught to spend more bits at a higher lambda."""
    torch.manual_seed(0)
    return trained(ModulatedAutoencoder(**ARGUMENTS), ARGUMENTS, tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def slim_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a slimmable codec whose wider points spend more bits."""
    torch.manual_seed(0)
    codec = SlimmableAutoencoder(**SLIM)
    codec.set_lambdas(LAMBDAS)
    return trained(codec, SLIM, tmp_path_factory.mktemp("runs") / "slim")


def trained(codec: LearnedCodec, arguments: dict, folder: Path) -> Path:
    """Run folder of a codec after a few steps on one photograph."""
    optimiser = torch.optim.Adam(codec.parameters(), 2e-3)
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None, :, :64, :64] / 255
    for _ in range(40):
        losses = []
        for point in codec.operating_points:
            out = codec(photo, point)
            bpp = -torch.log2(out.likelihoods["y"]).sum() / (64 * 64)
            losses.append(point.lmbda * (out.x_hat - photo).square().mean() + bpp)
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()
    codec.eval().update_tables()
    (folder / "checkpoints").mkdir(parents=True)
    config = {"_target_": f"{type(codec).__module__}.{type(codec).__name__}", **arguments}
    state = {f"codec.{k}": v for k, v in codec.state_dict().items()}
    torch.save({"codec": {"config": config, "tables": {}}, "state_dict": state}, folder / "checkpoints" / "last.ckpt")
    (folder / "config.yaml").write_text("name: tiny-experiment\n")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(data.astronaut()[:70, :90]).save(folder / "face.png")
    Image.fromarray(np.full((33, 17), 200, np.uint8)).save(folder / "grey.png")
    return [folder / "face.png", folder / "grey.png"]
