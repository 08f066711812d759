from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nic_lightning.runs.loggers.loggers import RecordLogger
from nic_lightning.runs.record.record import RunRecord, read_metrics
from tests.trainers import quiet_trainer


class Line(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_writes_the_record(tmp_path):
    record = RunRecord(tmp_path)
    logger = RecordLogger(record)
    trainer = quiet_trainer(max_steps=4, logger=logger, log_every_n_steps=2, default_root_dir=tmp_path)
    trainer.fit(Line(), DataLoader(list(torch.ones(8, 1)), batch_size=2))  # type: ignore[arg-type]
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 3]
    assert all(line["epoch"] == 0 for line in lines)
    assert lines[1]["train/loss"] < lines[0]["train/loss"]
    assert (logger.name, logger.version, logger.save_dir) == (tmp_path.name, "", str(tmp_path))


def test_nothing_but_the_epoch_is_no_line(tmp_path):
    logger = RecordLogger(RunRecord(tmp_path))
    logger.log_metrics({"epoch": 1.0}, 5)
    logger.log_hyperparams({"a": 1})
    assert not (tmp_path / "metrics.jsonl").exists()
    logger.log_metrics({"epoch": 1.0, "a": torch.tensor(2.0)})  # type: ignore[dict-item]
    assert read_metrics(tmp_path)[0]["step"] == 0
