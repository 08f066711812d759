from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from skimage import data

from nic_lightning import evaluate
from nic_lightning.codecs.learned import LearnedCodec
from nic_lightning.codecs.modulated import ModulatedAutoencoder
from nic_lightning.codecs.slimmable import SlimmableAutoencoder
from nic_lightning.codecs.translation import UI2ICodec

ARGUMENTS: dict[str, Any] = {"width": 8, "lambdas": [64.0, 512.0, 4096.0]}
SLIM = {"widths": [4, 8, 16], "lambdas": 500.0}
LAMBDAS = [100.0, 500.0, 2500.0]
"""Of the slimmable codec after training, as lambda-scheduling leaves them: in the state, not in the config."""
TRANSLATION = {
    "domains": ["cat", "dog"], "base": 8, "widest": 32, "halvings": 2, "latents": 12, "hyper": 4,
    "style_dim": 6, "latent_dim": 4, "size": 32,
}  # fmt: skip


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


@pytest.fixture(scope="session")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of an untrained codec that translates and autoencodes; modes, styles and latents differ."""
    torch.manual_seed(0)
    codec = UI2ICodec(**TRANSLATION)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if "unit" in name or name.endswith(".mode") or (parameter.dim() == 1 and "entropy" not in name):
                parameter.add_(0.3 * torch.randn_like(parameter))
    codec.eval().update_tables()
    return saved(codec, TRANSLATION, tmp_path_factory.mktemp("runs") / "unified")


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
    return saved(codec, arguments, folder)


def saved(codec: LearnedCodec, arguments: dict, folder: Path) -> Path:
    """Run folder with the checkpoint of a codec."""
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


@pytest.fixture
def nic_evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the console script's function in an empty working folder; the exit code."""
    monkeypatch.chdir(tmp_path)

    def start(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["nic-evaluate", *map(str, arguments)])
        try:
            evaluate.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
        return 0

    return start
