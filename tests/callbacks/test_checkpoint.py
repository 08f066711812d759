from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nic_lightning.callbacks.checkpoint import checkpoints


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, x, index):
        return self.layer(x).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(callbacks, steps: int) -> None:
    trainer = pl.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Line(), DataLoader(torch.rand(64, 1), batch_size=2))


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def test_cadences():
    assert checkpoints("x", None, None) == []
    assert len(checkpoints("x", 5, None)) == len(checkpoints("x", None, 1.5)) == 1
    both = checkpoints("x", 5, 0.5)
    assert len(both) == 2
    assert both[0].state_key != both[1].state_key  # Lightning refuses two callbacks of one key


def test_one_file_is_kept_current(tmp_path):
    fit(checkpoints(tmp_path, 4, None), 11)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert step_of(tmp_path / "last.ckpt") == 8


def test_both_cadences_write_the_same_file(tmp_path):
    fit(checkpoints(tmp_path, 4, 1e-9), 11)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert step_of(tmp_path / "last.ckpt") == 11


def test_a_folder_that_holds_an_earlier_checkpoint(tmp_path):
    fit(checkpoints(tmp_path, 2, None), 3)
    fit(checkpoints(tmp_path, 2, None), 5)  # no warning, no last-v1.ckpt
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert step_of(tmp_path / "last.ckpt") == 4
