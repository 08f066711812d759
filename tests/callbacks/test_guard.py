from __future__ import annotations

import types

import pytest
import pytorch_lightning as pl
import torch

from nic_lightning.callbacks import guard as module
from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.guard import DivergenceError, Guard, out_of_memory, start_again_lower
from nic_lightning.data.datamodule import ResumableLoader
from nic_lightning.errors import RunError
from nic_lightning.runs.resume.restarts import add_restart, learning_rate_scale, read_restarts
from tests.trainers import quiet_trainer


class Line(pl.LightningModule):
    """A line whose rate at operating point 512 is `bad` at step `at`; `poison` makes a weight so, behind the loss."""

    def __init__(self, at: int = -1, bad: float = float("nan"), poison: bool = False) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.at, self.bad, self.poison = at, bad, poison
        self.rates: list[float] = []

    def training_step(self, x, index):
        loss = self.layer(x).square().mean()
        hit = self.global_step == self.at
        if hit and self.poison:
            with torch.no_grad():
                self.layer.bias.fill_(self.bad)
        rate = torch.tensor(self.bad if hit and not self.poison else 0.5)
        self.latest = {"train/bpp@64": torch.tensor(0.2), "train/bpp@512": rate, "train/loss": rate}
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        return [optimizer], [
            {"scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [6], 0.5), "interval": "step"}
        ]


def fit(folder, model: Line, steps: int = 12, scale: float = 1.0, ckpt_path=None) -> Line:
    trainer = quiet_trainer(
        max_steps=steps, callbacks=[Guard(scale), Checkpoints(folder, 3)], plugins=[AtomicCheckpointIO()]
    )
    trainer.fit(model, ResumableLoader(torch.rand(64, 1), batch_size=2), ckpt_path=ckpt_path)
    return model


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_step_and_the_operating_point_are_named(tmp_path, bad):
    with pytest.raises(DivergenceError, match=r"bpp@512, loss \(operating point 512\) at step 7 is not finite") as stop:
        fit(tmp_path, Line(at=7, bad=bad))
    assert stop.value.step == 7
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6


def test_a_bad_weight_is_never_saved(tmp_path):
    with pytest.raises(DivergenceError, match=r"layer\.(weight|bias)"):
        fit(tmp_path, Line(at=7, poison=True))
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 6
    assert all(v.isfinite().all() for v in state["state_dict"].values())


def test_on_an_accelerator_the_first_bad_step_is_remembered(tmp_path, monkeypatch):
    looks = []
    real = Guard.look
    monkeypatch.setattr(Guard, "look", lambda self: looks.append(1) or (len(looks) > 10 and real(self)))
    with pytest.raises(DivergenceError, match="at step 3"):
        fit(tmp_path, Line(at=3), steps=30)


def test_learning_rates_are_lowered_once(tmp_path):
    fit(tmp_path, Line(), steps=4)
    once = fit(tmp_path, Line(), steps=9, scale=0.25, ckpt_path=tmp_path / "last.ckpt")
    assert once.rates == pytest.approx([0.025] * 3 + [0.0125] * 3)
    again = fit(tmp_path, Line(), steps=12, scale=0.25, ckpt_path=tmp_path / "last.ckpt")  # from step 6
    assert again.rates == pytest.approx([0.0125] * 6)


def test_restarts_are_noted_until_they_are_used_up(tmp_path, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(module.os, "execv", lambda *command: started.append(command))
    error = DivergenceError(7, "bpp@512")
    start_again_lower(error, tmp_path, 2, 0.5)
    assert learning_rate_scale(tmp_path) == 0.5
    start_again_lower(error, tmp_path, 2, 0.5)
    assert [entry["learning_rate_scale"] for entry in read_restarts(tmp_path)] == [0.5, 0.25]
    assert len(started) == 2
    assert "at 0.25 times the learning rate" in capsys.readouterr().err
    with pytest.raises(RunError, match=r"step 7 .* no checkpoint yet.* guard\.restarts=3"):
        start_again_lower(error, tmp_path, 2, 0.5)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(DivergenceError):  # torchrun starts all ranks again
        start_again_lower(error, tmp_path, 3, 0.5)
    assert len(started) == 2
    assert learning_rate_scale(tmp_path) == 0.125


@pytest.mark.parametrize("text", ["[{}]", "[1", '[{"learning_rate_scale": 7.0}]', "[[" * 5000, "3"])
def test_a_damaged_list_of_restarts_is_named(tmp_path, text):
    (tmp_path / "restarts.json").write_text(text)
    with pytest.raises(RunError, match=r"restarts\.json is damaged"):
        learning_rate_scale(tmp_path)


def test_running_out_of_memory_is_a_sentence(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    torch.save({}, tmp_path / "checkpoints" / "last.ckpt")
    sentence = out_of_memory(torch.OutOfMemoryError("CUDA out of memory."), tmp_path)
    assert "GPU memory ran out: lower data.batch_size" in str(sentence)
    assert "last.ckpt" in str(sentence)
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(2**50)
    assert str(out_of_memory(cpu.value, tmp_path)).startswith("Memory ran out")
    assert out_of_memory(RuntimeError("shape"), tmp_path) is None
    add_restart(tmp_path, 1, "x", 0.5)


def test_what_a_task_tells_may_grow():
    """As where a warm-up ends; what was bad before is not forgotten, on an accelerator that was not looked at."""
    guard = Guard()
    task = types.SimpleNamespace(latest={})

    def step(number, **latest):
        task.latest = {name: torch.tensor(value).as_subclass(_Elsewhere) for name, value in latest.items()}
        guard.on_train_batch_end(types.SimpleNamespace(global_step=number + 1), task, None, None, number)

    step(0, bpp=0.5)
    step(1, bpp=0.5, loss=1.0)
    step(2, bpp=float("nan"), loss=1.0)
    with pytest.raises(DivergenceError, match="bpp at step 2 is not finite"):
        step(3, bpp=0.5, loss=1.0, more=1.0)


class _Elsewhere(torch.Tensor):
    """A tensor that says it is on an accelerator, where the guard does not look at each step."""

    device = types.SimpleNamespace(type="cuda")
