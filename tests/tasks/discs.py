"""A toy for translation: grey pictures with a disc, red in one domain and blue in the other, and narrow networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image

from nic_lightning.codecs.loading import build_codec
from nic_lightning.data.domain_module import DomainDataModule
from nic_lightning.data.domains import Translation
from nic_lightning.tasks.translation import TranslationTask
from tests.trainers import quiet_trainer

COLOURS = {"blue": (40, 60, 210), "red": (210, 60, 40)}
TINY = {"base": 4, "widest": 8, "halvings": 2, "latents": 6, "hyper": 3, "style_dim": 5, "latent_dim": 4, "size": 16}


def write_discs(folder: Path, count: int = 32, side: int = 32) -> Path:
    """`count` pictures for each colour."""
    dice = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((side, side, 3), 128, np.uint8)
            y, x = dice.uniform(0.3, 0.7, 2) * side
            inside = np.hypot(rows - y, columns - x) < dice.uniform(0.15, 0.3) * side
            pixels[inside] = colour
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder


def colour_of(images: torch.Tensor) -> torch.Tensor:
    """Domain of images (N, 3, H, W): which of red and blue there is more of; grey counts for neither."""
    return (images[:, 0] > images[:, 2]).float().sub(0.5).mul((images[:, 0] - images[:, 2]).abs()).sum((1, 2)).gt(0)


def config(kind: str = "UI2ICodec", **arguments: Any) -> dict[str, Any]:
    """A codec's plain config."""
    return {"_target_": f"nic_lightning.codecs.translation.{kind}", "domains": list(COLOURS), **TINY, **arguments}


def make_task(codec: dict[str, Any] | None = None, **task: Any) -> TranslationTask:
    """A task with its network, weights from seed 0."""
    torch.manual_seed(0)
    made = TranslationTask(build_codec(codec or config()), codec or config(), **{"warm_up": 0, **task})
    made.configure_model()
    return made


def noise(size: int = 4, side: int = 16, seed: int = 0) -> Translation:
    """A batch of smooth random images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(3, size, 3, 4, 4, generator=generator)
    source, first, second = (torch.nn.functional.interpolate(c, (side, side), mode="bilinear") for c in coarse)
    domains = torch.arange(size) % 2, torch.arange(size) // 2 % 2
    return Translation(source, domains[0], first, second, domains[1])


def fit(folder: Path, task: TranslationTask, steps: int, **options: Any) -> pl.Trainer:
    """Train on the pictures of `folder`."""
    data = {"size": task.codec.size, "batch_size": 4, "workers": 0, **options.pop("data", {})}
    arguments = {key: options.pop(key) for key in ("ckpt_path",) if key in options}
    defaults = {"max_steps": steps, "limit_val_batches": int("validation" in data), "default_root_dir": str(folder)}
    trainer = quiet_trainer(**(defaults | options))
    module = DomainDataModule(str(folder), **data)
    trainer.fit(task, datamodule=module, weights_only=True, **arguments)
    return trainer


class Watch(pl.Callback):
    """Weights and measurements after each iteration."""

    def __init__(self) -> None:
        self.weights, self.latest = {}, {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        network = pl_module.network.named_parameters()
        self.weights[trainer.global_step] = {n: p.detach().clone() for n, p in network}
        self.latest[trainer.global_step] = {n: float(v) for n, v in pl_module.latest.items()}


def parameters(task) -> dict[str, torch.Tensor]:
    """A copy of what is trained."""
    return {n: p.detach().clone() for n, p in task.named_parameters() if not n.startswith("codec.")}


def moved(before, after) -> set[str]:
    """Names of tensors that differ."""
    return {name for name, value in before.items() if not torch.equal(value, after[name])}
