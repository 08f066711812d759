from __future__ import annotations

import pytest


@pytest.fixture
def fit(tmp_path, make_codec):
    """Train a tiny codec: `fit(steps, "modulated", task={...}, trainer={...}) -> (task, trainer)`."""
    import pytorch_lightning as pl

    from nic_lightning.tasks.rate_distortion import RateDistortionTask

    def run(
        steps: int,
        name: str = "modulated",
        *,
        codec=None,
        task=None,
        trainer=None,
        data=None,
        codec_arguments=None,
        **fit,
    ):
        pl.seed_everything(0, verbose=False)
        codec = codec or make_codec(name, excite=1.0, **(codec_arguments or {})).train()
        module = RateDistortionTask(codec, **{"learning_rate": 1e-3, "quantile_learning_rate": 1e-2, **(task or {})})
        arguments = {
            "max_steps": steps,
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": str(tmp_path),
            "gradient_clip_val": 1.0,
        }
        lightning = pl.Trainer(**(arguments | (trainer or {})))
        lightning.fit(module, datamodule=data or Crops(), **fit)
        return module, lightning

    return run


def Crops(count: int = 64, side: int = 32, batch: int = 2):
    """Data module whose every sample is a function of its index."""
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Noise(Dataset):
        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int):
            generator = torch.Generator().manual_seed(index)
            coarse = torch.rand(1, 3, 4, 4, generator=generator)
            return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")[0]

    class Module(pl.LightningDataModule):
        validation_name = "noise"

        def train_dataloader(self):
            return DataLoader(Noise(), batch_size=batch)

        def val_dataloader(self):
            return DataLoader([("a.png", Noise()[0]), ("b.png", Noise()[1][:, :20, :33])], batch_size=1)

    return Module()
