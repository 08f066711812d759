from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import pytest
import torch

from nic_lightning.callbacks import progress
from nic_lightning.callbacks.evaluation_progress import EvaluationProgress
from nic_lightning.callbacks.progress import Progress, summary

LATEST = {
    "train/bpp@64": torch.tensor(0.1234),
    "train/bpp@512": torch.tensor(0.5),
    "train/mse@64": torch.tensor(0.01),
    "train/mse@512": torch.tensor(0.001),
    "train/loss": torch.tensor(1.0),
}


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.time)
    return now


def trainer(step: int, total: float = 1000, zero: bool = True, device: str = "cpu") -> SimpleNamespace:
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(global_step=step, estimated_stepping_batches=total, is_global_zero=zero, strategy=strategy)


def run(callback: Progress, clock, steps: int, seconds: float, module=None, **arguments) -> None:
    module = SimpleNamespace(latest=LATEST) if module is None else module
    callback.on_train_start(trainer(0, **arguments), module)
    for step in range(1, steps + 1):
        clock.time += seconds
        callback.on_train_batch_end(trainer(step, **arguments), module, None, None, step)
    callback.on_train_end(trainer(steps, **arguments), module)


def test_summary_spans_the_operating_points():
    assert summary(LATEST) == "bpp 0.123..0.500  PSNR 20.00..30.00 dB"
    assert summary({"train/bpp@64": 0.5, "train/mse@64": 0.0}) == "bpp 0.500  PSNR 100.00 dB"
    assert summary({"train/bpp@64": 0.5, "train/ms-ssim@64": 0.1}) == "bpp 0.500"
    assert summary({}) == ""


def test_summary_of_an_adversarial_task():
    latest = {"train/discriminator@latent": torch.tensor(1.234), "train/generator@latent": torch.tensor(5.0)}
    assert summary(LATEST | latest).endswith("dB  D 1.23  G 5.00")


def test_a_diverged_run_can_still_be_summarised():
    summary({"train/bpp@64": math.nan, "train/mse@64": math.nan})


def test_log_files_get_a_line_now_and_then(clock, capsys):
    run(Progress(seconds=20), clock, steps=50, seconds=1.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("step 50/1000  bpp 0.123..0.500")  # the last step, whenever it comes
    assert lines[0].startswith("step 20/1000  bpp 0.123..0.500  PSNR 20.00..30.00 dB")
    assert "1.0 steps/s" in lines[0]
    assert "16 min left" in lines[0]  # 980 steps


def test_a_continued_run_says_where_it_goes_on(clock, capsys):
    Progress().on_train_start(trainer(40), SimpleNamespace())
    Progress().on_train_start(trainer(7, total=math.inf), SimpleNamespace())
    Progress().on_train_start(trainer(40, zero=False), SimpleNamespace())
    assert capsys.readouterr().err == "Going on after step 40 of 1000.\nGoing on after step 7 of ?.\n"


def test_a_run_without_end(clock, capsys):
    run(Progress(seconds=1), clock, steps=1, seconds=2.0, total=math.inf)
    assert "step 1/?" in capsys.readouterr().err
    run(Progress(seconds=1), clock, steps=1, seconds=2.0, module=SimpleNamespace())
    assert "step 1/1000" in capsys.readouterr().err


def test_other_ranks_are_silent(clock, capsys):
    run(Progress(seconds=1), clock, steps=5, seconds=2.0, zero=False)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    callback = Progress()
    run(callback, clock, steps=10, seconds=0.5)
    assert callback._bar is None
    shown = capsys.readouterr().err
    assert "10/1000" in shown
    assert "step 10/" not in shown


def test_an_evaluation_says_now_and_then_what_it_measures(clock, capsys):
    with EvaluationProgress(seconds=20) as report:
        for i in range(5):
            clock.time += 9
            report("jpeg", "kodak", f"kodim0{i}", SimpleNamespace(label="q30"))
    assert capsys.readouterr().err.splitlines() == ["measured 3 files, the last jpeg on kodak: kodim02 at q30"]


def test_a_run_of_many_hours_on_a_processor_says_so_after_its_first_steps(clock, capsys):
    run(Progress(seconds=1000), clock, steps=4, seconds=8.0, total=1_200_000)
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("The 1,200,000 steps of this run will take about 111 d 3 h on this processor. Shorter: ")
    for quiet in ({"total": 1000}, {"total": math.inf}, {"total": 1_200_000, "device": "meta"}):
        run(Progress(seconds=1000), clock, steps=9, seconds=8.0, **quiet)
        assert "will take about" not in capsys.readouterr().err
