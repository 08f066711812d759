from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from nic_lightning.callbacks import lambda_scheduling
from nic_lightning.callbacks.checkpoint import AtomicCheckpointIO, Checkpoints
from nic_lightning.callbacks.lambda_scheduling import LambdaSchedule, LambdaScheduling, measure
from nic_lightning.callbacks.random_state import RandomState
from nic_lightning.data.datamodule import ImageDataModule
from nic_lightning.errors import UserError
from nic_lightning.metrics.fidelity import psnr

FLOOR = (13e-4, 8e-4, 4.5e-4, 3e-4, 2e-4)
GAIN = (0.14, 0.16, 0.18, 0.19, 0.20)


def toy(lambdas):
    """Rates and PSNRs of five widths with limited capacity, narrowest first."""
    mse = [floor + 0.5 / value for floor, value in zip(FLOOR, lambdas, strict=True)]
    rates = [gain * math.log2(1 + value / 100) for gain, value in zip(GAIN, lambdas, strict=True)]
    return rates, [-10 * math.log10(value) for value in mse]


def follow(schedule: LambdaSchedule) -> list[tuple[int, float, list[float]]]:
    rows = []
    while not schedule.finished:
        fixed = schedule.fixed
        rows.append((fixed, schedule.observe(*toy(schedule.lambdas)), list(schedule.lambdas)))
    return rows


def test_the_toys_trace():
    rows = follow(LambdaSchedule([4000.0] * 5))
    assert rows[-1][2] == pytest.approx([175.92, 274.88, 429.50, 1048.58, 4000.0], abs=5e-3)
    first = [slope for fixed, slope, _ in rows if fixed == 4]
    assert first == pytest.approx([21.746, 13.028, 10.629, 9.699, 9.350, 9.293, 9.405], abs=5e-4)
    updates = [4000.0 * 0.8**n for n in range(15)]
    assert sorted({row[2][0] for row in rows}, reverse=True) == pytest.approx(updates[1:])  # 14 in all
    assert [sum(row[0] == level for row in rows) for level in (4, 3, 2, 1)] == [7, 4, 2, 2]
    assert len({json.dumps(row) for row in rows}) == len(rows)


def test_updates_of_each_pair():
    schedule, counts = LambdaSchedule([4000.0] * 5), {4: 0, 3: 0, 2: 0, 1: 0}
    while not schedule.finished:
        before = list(schedule.lambdas)
        schedule.observe(*toy(schedule.lambdas))
        if schedule.lambdas != before:
            counts[schedule.fixed] += 1
    assert list(counts.values()) == [6, 4, 2, 2]


@pytest.mark.parametrize("stop", [0, 1, 6, 7, 11, 14])
def test_a_schedule_continues_from_its_state(stop):
    whole = follow(LambdaSchedule([4000.0] * 5))
    schedule = LambdaSchedule([4000.0] * 5)
    for _ in range(stop):
        schedule.observe(*toy(schedule.lambdas))
    state = json.loads(json.dumps(schedule.state_dict()))
    resumed = LambdaSchedule([1.0] * 5)
    resumed.load_state_dict(state)
    assert follow(resumed) == whole[stop:]


@pytest.mark.parametrize("rates", [[0.5, 0.5, 0.5], [0.7, 0.6, 0.5]])
def test_equal_and_inverted_rates_have_no_slope(rates):
    schedule, seen = LambdaSchedule([100.0] * 3, updates=3), []
    while not schedule.finished:
        seen.append(schedule.observe(rates, [30.0, 31.0, 32.0]))
    assert all(math.isinf(slope) for slope in seen)
    assert len(seen) == 6 + 1  # every pair takes all of its updates
    assert schedule.lambdas == pytest.approx([100 * 0.8**6, 100 * 0.8**3, 100.0])
    with pytest.raises(UserError, match="finished"):
        schedule.observe(rates, [30.0, 31.0, 32.0])


def test_a_slope_that_appears_late_is_only_compared_with_slopes():
    schedule = LambdaSchedule([100.0] * 2, updates=5)
    assert math.isinf(schedule.observe([0.6, 0.5], [30.0, 31.0]))
    assert schedule.observe([0.4, 0.5], [30.0, 31.0]) == pytest.approx(10)  # the first one: nothing to compare with
    assert schedule.observe([0.3, 0.5], [29.9, 31.0]) == pytest.approx(5.5)
    assert not schedule.finished
    schedule.observe([0.3, 0.5], [29.0, 31.0])
    assert schedule.finished


def test_the_next_pair_begins_with_its_own_slope():
    """Line 17 of the algorithm compares the first update of a pair, too: with the slope when its turn came."""
    schedule, rates = LambdaSchedule([100.0] * 3, updates=5), [0.3, 0.4, 0.5]
    assert schedule.observe(rates, [29.0, 30.0, 31.0]) == pytest.approx(10)
    assert schedule.observe(rates, [29.0, 29.9, 31.0]) == pytest.approx(11)  # the narrower pair's is 9
    assert schedule.observe(rates, [28.8, 29.9, 31.0]) == pytest.approx(11)
    assert schedule.finished
    assert schedule.lambdas == pytest.approx([64, 80, 100])


def test_wrong_settings_are_named():
    for wrong in ({"kappa": 1.25}, {"kappa": 0.0}, {"updates": 0}):
        with pytest.raises(UserError):
            LambdaSchedule([1.0, 1.0], **wrong)
    with pytest.raises(UserError):
        LambdaScheduling(0)


class Rows(pl.loggers.Logger):
    """Keeps what is logged."""

    name = version = "rows"

    def __init__(self):
        super().__init__()
        self.rows: list[tuple[int, dict]] = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, {k: v for k, v in metrics.items() if k.startswith("schedule/")}))

    def log_hyperparams(self, params, *args, **kwargs):
        pass


@pytest.fixture
def photographs(tmp_path, picture) -> str:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(6):
        pixels = (picture(32, 32, seed=i)[0].permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return str(folder)


def run(fit, steps, callback, folder, *more, **options):
    rows = Rows()
    trainer = {"logger": rows, "callbacks": [RandomState(), callback, *more], "plugins": [AtomicCheckpointIO()]}
    data = ImageDataModule(folder, folder, crop=32, batch_size=2, workers=0)
    codec = {"widths": [3, 5, 8], "lambdas": 200.0}
    task, done = fit(
        steps, "slimmable", codec_arguments=codec, task={"halve_at": [11]}, trainer=trainer, data=data, **options
    )
    return task, done, [row for row in rows.rows if row[1]]


def test_training_follows_the_schedule_and_continues_it(fit, photographs, tmp_path):
    settings = {"start": 4, "every": 2, "kappa": 0.5, "updates": 2}
    whole, trainer, rows = run(fit, 14, LambdaScheduling(**settings), photographs)
    assert [step for step, _ in rows][:3] == [4, 6, 8]
    assert len({json.dumps(row) for row in rows}) == len(rows)
    last = rows[-1][1]
    assert [p.lmbda for p in whole.codec.operating_points] == [last[f"schedule/lambda@w{w}"] for w in (3, 5, 8)]
    assert last["schedule/lambda@w8"] == 200.0
    assert last["schedule/lambda@w3"] < last["schedule/lambda@w5"] < 200.0
    assert {"schedule/photographs/psnr@w3", "schedule/photographs/bpp_estimated@w8"} <= rows[0][1].keys()
    rates = [g["lr"] for g in trainer.optimizers[0].param_groups]
    assert rates == pytest.approx([1e-3 / 4, 1e-2 / 4])  # halved by the schedule's end and at step 11
    # Killed at step 8, when its last checkpoint was that of step 7; continued by a new process.
    _, _, begun = run(fit, 8, LambdaScheduling(**settings), photographs, Checkpoints(tmp_path / "kept", 7))
    path = tmp_path / "kept" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 7
    again, _, ended = run(fit, 14, LambdaScheduling(**settings), photographs, ckpt_path=str(path), weights_only=True)
    assert [row for row in begun if row[0] <= 7] + ended == rows
    for name, value in whole.codec.state_dict().items():
        assert torch.equal(value, again.codec.state_dict()[name]), name


def test_measuring_leaves_no_trace(fit, photographs):
    task, trainer, _ = run(fit, 3, LambdaScheduling(start=2, every=1), photographs)
    before = {k: v.clone() for k, v in task.codec.state_dict(keep_vars=True).items() if v.requires_grad}
    task.train()
    state = torch.get_rng_state()
    rates, psnrs = measure(trainer, task)
    assert len(rates) == len(psnrs) == 3
    assert all(0 < rate < 50 and 0 < quality < 60 for rate, quality in zip(rates, psnrs, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert task.training
    assert all(torch.equal(v, before[k]) for k, v in task.codec.state_dict(keep_vars=True).items() if k in before)
    assert measure(trainer, task) == (rates, psnrs)


def test_an_image_that_comes_back_exactly_is_left_out_of_all_means(fit, photographs, monkeypatch):
    task, trainer, _ = run(fit, 3, LambdaScheduling(start=2, every=1), photographs)
    images = list(trainer.datamodule.val_dataloader())
    black = torch.zeros_like(images[0][1])

    def exact(x, x_hat):
        return psnr(x, x if torch.equal(x, black) else x_hat)

    monkeypatch.setattr(lambda_scheduling, "psnr", exact)
    monkeypatch.setattr(trainer.datamodule, "val_dataloader", lambda: images[1:])
    right = measure(trainer, task)
    monkeypatch.setattr(trainer.datamodule, "val_dataloader", lambda: [*images[1:], (["black"], black)])
    assert measure(trainer, task) == right


def test_ranks_add_up_what_they_measured(fit, photographs, monkeypatch):
    """Four images on one rank and two on the other: the mean is that of six images, not of two ranks."""
    task, trainer, _ = run(fit, 3, LambdaScheduling(start=2, every=1), photographs)
    whole, images = measure(trainer, task), list(trainer.datamodule.val_dataloader())

    def on_rank(share: list, reduce) -> tuple[list[float], list[float]]:
        monkeypatch.setattr(torch.distributed, "all_reduce", reduce)
        data = SimpleNamespace(val_dataloader=lambda: share)
        rank = SimpleNamespace(world_size=2, datamodule=data, precision_plugin=trainer.precision_plugin)
        return measure(rank, task)

    other: list[torch.Tensor] = []
    alone = on_rank(images[4:], lambda sums: other.append(sums.clone()))
    together = on_rank(images[:4], lambda sums: sums.add_(other[0]))
    assert together == (pytest.approx(whole[0]), pytest.approx(whole[1]))
    assert alone != together


def test_what_cannot_be_scheduled_is_refused(fit, photographs, caplog):
    with pytest.raises(UserError, match="each of several widths"):
        fit(3, "modulated", trainer={"callbacks": [LambdaScheduling(1)]})
    with pytest.raises(UserError, match="begins at step 5, but training ends at 3"):
        run(fit, 3, LambdaScheduling(5), photographs)
    run(fit, 3, LambdaScheduling(2, every=1), photographs)
    assert "not over at step 3, where training ends: 2 widths have no final lambda yet" in caplog.text


def test_layers_are_scheduled_as_widths_are(fit, photographs):
    rows = Rows()
    settings = {"logger": rows, "callbacks": [LambdaScheduling(start=2, every=1, kappa=0.5, updates=1)]}
    data = ImageDataModule(photographs, photographs, crop=32, batch_size=2, workers=0)
    task, _ = fit(6, "scalable", codec_arguments={"widths": [3, 5, 8], "lambdas": 200.0}, trainer=settings, data=data)
    found = [point.lmbda for point in task.codec.operating_points]
    assert found == task.codec.lambdas.tolist() == [50.0, 100.0, 200.0]  # every pair took its one update
    steps = {step: row for step, row in rows.rows if row}
    assert list(steps) == [2, 3, 4]
    last = steps[4]
    assert [last[f"schedule/lambda@layers{k}"] for k in (1, 2, 3)] == found
    rates = [last[f"schedule/photographs/bpp_estimated@layers{k}"] for k in (1, 2, 3)]
    assert 0 < rates[0] < rates[1] < rates[2]
