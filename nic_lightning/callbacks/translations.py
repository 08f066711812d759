"""Pictures of what a codec that translates has learned, while it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from nic_lightning.codecs.translation import TRANSLATE, I2ICodec
from nic_lightning.data.domains import DomainFolders, WholeImages
from nic_lightning.errors import UserError
from nic_lightning.media.image.png import save_png

FOLDER = Path("figures") / "translations"


class TranslationGrid(pl.Callback):
    """Every so many steps, a picture FOLDER/step_N.png of the moving average's work; training is not touched by it.

    A row for each source: itself, for each domain a random style and the style of that domain's first image, and the
    reconstruction where the codec autoencodes. Latents are rounded. Sources are validation images, where there are any.

    Args:
        every_n_steps: iterations between two pictures.
        sources: images of each domain, the first ones.
    """

    def __init__(self, every_n_steps: int = 5000, sources: int = 2) -> None:
        if every_n_steps < 1 or sources < 1:
            raise UserError("callbacks.translations: every_n_steps and sources are at least 1.")
        self.every_n_steps, self.sources = every_n_steps, sources

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw, if it is time."""
        if trainer.global_step % self.every_n_steps or not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        codec: Any = pl_module.codec
        folders = data.validation_folders or data.train_images
        training = codec.training
        try:
            picture = grid(codec.eval(), folders, self.sources)
        finally:
            codec.train(training)
        save_png(picture, Path(trainer.default_root_dir) / FOLDER / f"step_{trainer.global_step:07}.png")


@torch.no_grad()
def grid(codec: I2ICodec, folders: DomainFolders, sources: int) -> Tensor:
    """The picture (3, H, W) in [0, 1] that `TranslationGrid` describes."""
    device = next(codec.parameters()).device
    images, firsts, start = WholeImages(folders, codec.size), [], 0
    x = []
    for domain in folders.images:
        firsts.append(images[start][0])
        x += [images[start + i][0] for i in range(min(sources, len(domain)))]
        start += len(domain)
    batch = torch.stack(x).to(device)
    columns = [batch]
    for name, first in zip(codec.domains, firsts, strict=True):
        for style in (codec.random_styles(name, 1), codec.reference_styles(name, first[None].to(device))):
            columns.append(codec(batch, TRANSLATE, style).x_hat)
    columns += [codec(batch, point).x_hat for point in codec.operating_points if codec.reconstructs(point)]
    return torch.cat([torch.cat(list(column), dim=-2) for column in columns], dim=-1).float().clamp(0, 1)
