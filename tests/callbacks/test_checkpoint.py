from __future__ import annotations

import errno
import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from nic_lightning.callbacks import checkpoint as module
from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints, Stopped, requeue
from nic_lightning.errors import RunError
from tests.trainers import quiet_trainer


class Line(pl.LightningModule):
    def __init__(self, at: dict | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.at = at or {}

    def training_step(self, x, index):
        if self.global_step in self.at:
            os.kill(os.getpid(), self.at[self.global_step])
        return self.layer(x).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def fit(callback: Checkpoints, steps: int, **signals) -> None:
    trainer = quiet_trainer(max_steps=steps, callbacks=[callback], plugins=[AtomicCheckpointIO()])
    trainer.fit(Line(**signals), DataLoader(torch.rand(64, 1), batch_size=2))


def step_of(path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def test_the_last_two_are_kept(tmp_path):
    fit(Checkpoints(tmp_path, 3), 11)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert step_of(tmp_path / "last.ckpt") == 9
    assert step_of(tmp_path / "previous.ckpt") == 6


def test_cadence_in_minutes(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 25))  # seconds, at each look
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    fit(Checkpoints(tmp_path, None, every_n_minutes=1), 9)
    assert step_of(tmp_path / "last.ckpt") > step_of(tmp_path / "previous.ckpt") > 0
    fit(Checkpoints(tmp_path / "none", None, None), 9)
    assert not (tmp_path / "none").exists()


def test_a_signal_to_save_and_one_to_stop(tmp_path):
    fit(Checkpoints(tmp_path, None), 9, at={4: signal.SIGUSR1})
    assert step_of(tmp_path / "last.ckpt") == 5
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # the evaluation to come ends on it
    with pytest.raises(Stopped, match="after step 3; the same command continues") as stop:
        fit(Checkpoints(tmp_path, None), 9, at={2: signal.SIGTERM})
    assert step_of(tmp_path / "last.ckpt") == 3
    assert stop.value.exit_code == 143
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_under_slurm_the_job_is_queued_again(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setattr(module, "requeue", lambda: calls.append(step_of(tmp_path / "last.ckpt")))
    with pytest.raises(Stopped):
        fit(Checkpoints(tmp_path, None), 9, at={4: signal.SIGUSR1})
    assert calls == [5]  # once, with the state already written


def test_requeue_names_the_job(monkeypatch, capsys):
    calls = []
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    requeue(lambda command, **_: calls.append(command))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    requeue(lambda command, **_: calls.append(command))
    assert calls == [["scontrol", "requeue", "77"], ["scontrol", "requeue", "70_3"]]

    def absent(command, **_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "scontrol")

    requeue(absent)
    assert "Slurm did not put job 70_3 into the queue again" in capsys.readouterr().err


def test_a_full_disk_leaves_the_earlier_checkpoint_intact(tmp_path, monkeypatch):
    writer, last = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"global_step": 1}, last)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left on device.*earlier one is intact"):
        writer.save_checkpoint({"global_step": 2}, last)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert step_of(last) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_what_torch_says_of_a_full_disk_becomes_a_sentence(tmp_path, monkeypatch):
    writer, last = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    (tmp_path / ".last.ckpt.tmp").symlink_to("/dev/full")
    with pytest.raises(RunError, match="could not be written"):
        writer.save_checkpoint({"weights": torch.rand(100_000)}, last)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_in_torch_for_another_reason_is_a_bug(tmp_path, monkeypatch):
    def broken(checkpoint, file):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(module.torch, "save", broken)
    with pytest.raises(RuntimeError, match="CUDA error"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"file/last\.ckpt could not be written"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "file" / "last.ckpt")
