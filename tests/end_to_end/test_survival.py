"""Trainings that are killed and started again by the same command end as if nobody had touched them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

STEPS, EPOCH = 60, 10
RECIPE = (
    "codec=modulated",
    "codec.width=8",
    "codec.lambdas=[64,512]",
    "data.crop=32",
    "data.batch_size=2",
    "data.validation_limit=4",
    "task.halve_at=[33]",
    "trainer.gradient_clip_val=1.0",
    f"trainer.max_steps={STEPS}",
    "trainer.log_every_n_steps=1",
    "checkpoint.every_n_steps=7",  # sometimes within an epoch, sometimes at its end
    "evaluation.datasets=[]",
    "logger=none",
)
MODES = {
    "one process": (*RECIPE, f"data.samples_per_epoch={2 * EPOCH}"),
    "two processes": (*RECIPE, f"data.samples_per_epoch={4 * EPOCH}", "trainer=ddp_cpu"),
}
_OTHERWISE = (*(part for part in MODES["one process"] if "halve_at" not in part), "callbacks=[plateau,best]")
_OTHERWISE += ("callbacks.plateau.patience=1", "callbacks.plateau.threshold=1000", "task.average=0.9")
MODES["muon"] = (*_OTHERWISE, "optimizer=muon", "schedule=cosine", "task.schedule.warmup=5")
MODES["adamw"] = (*_OTHERWISE, "optimizer=adamw", "schedule=one_cycle")
MODES["prodigy"] = (*_OTHERWISE, "optimizer=prodigy", "schedule=cosine")
MODES["schedule_free"] = (*(p for p in _OTHERWISE if not p.startswith("task.average")), "optimizer=schedule_free")

MODES["schedule, two processes"] = (
    *MODES["two processes"][3:],
    "codec=slimmable",
    "codec.widths=[4,6,8]",
    "codec.lambdas=64",
    "callbacks=lambda_scheduling",
    "callbacks.lambda_scheduling.start=15",
    "callbacks.lambda_scheduling.every=5",
    "callbacks.lambda_scheduling.updates=4",
)


class Training:
    """`nic-train` of one run folder, as a process group that can be killed."""

    def __init__(self, folder: Path, name: str, recipe: tuple[str, ...]) -> None:
        self.folder, self.run = folder, folder / "runs" / name
        self.command = [sys.executable, "-m", "nic_lightning.train", f"name={name}", *recipe]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        unset = {"WANDB_MODE", "NIC_DATA", "LOCAL_RANK", "RANK"}
        environment = {k: v for k, v in os.environ.items() if k not in unset} | {"OMP_NUM_THREADS": "1"}
        # Without it torchrun's second attempt finds the addresses of the first in its store.
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        with (self.folder / f"{self.run.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        return self.process

    def finish(self) -> None:
        code = self.start().wait(timeout=300)
        assert code == 0, (self.folder / f"{self.run.name}.log").read_text()[-3000:]

    def kill_when(self, moment: Callable[[Training], bool], victim: str = "all") -> bool:
        """Start, wait for the moment and kill -9; False where the training was over before."""
        process = self.start()
        deadline = time.monotonic() + 300
        while not moment(self):
            if process.poll() is not None:
                assert process.returncode == 0, (self.folder / f"{self.run.name}.log").read_text()[-3000:]
                return False
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.0005)
        if victim == "all":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(self._rank_1(), signal.SIGKILL)
        code = process.wait(timeout=120)
        assert code != 0, "a training that lost a process has to say so"
        return True

    def _rank_1(self) -> int:
        """The process that Lightning or torchrun started as the second rank."""
        assert self.process is not None
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # a process that has ended meanwhile
                parent = stat.read_text().rpartition(")")[2].split()[1]
                variables = (stat.parent / "environ").read_bytes().split(b"\0")
                if int(parent) == self.process.pid and b"LOCAL_RANK=1" in variables:
                    return int(stat.parent.name)
        raise AssertionError("there is no second process")

    def lines(self) -> list[str]:
        path = self.run / "metrics.jsonl"
        return path.read_text().splitlines() if path.exists() else []

    def rows(self) -> list[dict]:
        return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in self.lines()]


def after_lines(count: int, seconds: float) -> Callable[[Training], bool]:
    """Somewhere after that many lines were logged."""

    def moment(training: Training) -> bool:
        if len(training.lines()) < count:
            return False
        time.sleep(seconds)
        return True

    return moment


def in_validation(training: Training) -> bool:
    """The last step of an epoch is logged, its validation not yet."""
    lines = training.lines()
    return len(lines) > EPOCH and lines[-1].endswith("}") and json.loads(lines[-1])["step"] % EPOCH == EPOCH - 1


def in_writing(training: Training) -> bool:
    """A checkpoint is being written."""
    return (training.run / "checkpoints" / ".last.ckpt.tmp").exists()


def differences(one: object, other: object, path: str = "") -> Iterator[str]:
    """Where two checkpoints differ in a bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            yield from differences(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        assert len(one) == len(other), path
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{path}[{i}]")
    elif isinstance(one, torch.Tensor):
        if not (isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)):
            yield path
    elif one != other:
        yield path


def assert_same(training: Training, reference: Training) -> None:
    ends = [torch.load(t.run / "checkpoints" / "last.ckpt", weights_only=True) for t in (training, reference)]
    for end in ends:
        assert end["global_step"] == STEPS
        del end["metrics_bytes"]  # times have more digits or fewer
        del end["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]  # batches fetched, some in vain
    assert list(differences(*ends)) == []
    assert training.rows() == reference.rows()
    steps = [row["step"] for row in training.rows() if "train/loss" in row]
    assert steps == list(range(STEPS))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Callable[[str], Training]:
    """The uninterrupted training of a mode."""
    made: dict[str, Training] = {}

    def get(mode: str) -> Training:
        if mode not in made:
            made[mode] = Training(tmp_path_factory.mktemp("reference"), "reference", MODES[mode])
            made[mode].finish()
        return made[mode]

    return get


def test_killed_in_an_epoch_and_in_a_validation(tmp_path, reference):
    training = Training(tmp_path, "killed", MODES["one process"])
    assert training.kill_when(after_lines(17, 0.01))
    assert training.kill_when(in_validation)
    training.finish()
    assert_same(training, reference("one process"))


@pytest.mark.parametrize(
    "mode", ["muon", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("adamw", "prodigy", "schedule_free"))]
)
def test_killed_with_another_optimiser_and_schedule(mode, tmp_path, reference):
    """Each validation but the first lowers the learning rates, since none is better by so much."""
    training = Training(tmp_path, "killed", MODES[mode])
    assert training.kill_when(after_lines(25, 0.01))
    assert training.kill_when(in_validation)
    training.finish()
    assert_same(training, reference(mode))
    end = torch.load(training.run / "checkpoints" / "last.ckpt", weights_only=True)
    groups = end["optimizer_states"][0].get("param_groups") or end["optimizer_states"][0]["parts"][0]["param_groups"]
    if mode == "schedule_free":  # nothing else than five of six validations lowers it
        assert groups[0]["lr"] == 1e-4 * 0.5**5
        return
    assert 0 < groups[0]["lr"] < 1e-6 if mode != "prodigy" else groups[0]["lr"] < 1e-2


@pytest.mark.slow  # a start for each fraction of a second
def test_ended_by_a_time_limit_again_and_again(tmp_path, reference):
    training = Training(tmp_path, "limited", (*MODES["one process"], "+trainer.max_time={milliseconds:250}"))
    states = []
    while (code := training.start().wait(timeout=300)) == 75 and len(states) < 60:
        states.append(json.loads((training.run / "status.json").read_text())["state"])
    assert code == 0, (tmp_path / "limited.log").read_text()[-3000:]
    assert states
    assert set(states) == {"interrupted"}
    assert_same(training, reference("one process"))


KILLS: dict[str, int] = {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "seed"), [*(("one process", i) for i in range(4)), ("two processes", 0), ("two processes", 1)]
)
def test_killed_at_random_moments(mode, seed, tmp_path, reference, capsys):
    dice, training = random.Random(seed), Training(tmp_path, "killed", MODES[mode])
    kinds = ["in an epoch", "in a validation", "while a checkpoint was written", "one rank of two"]
    goal = len(reference(mode).lines())
    for turn in range(4):
        kind = kinds[turn % (4 if mode == "two processes" else 3)]
        reached = len(training.lines())
        moment = {
            "in a validation": in_validation,
            "while a checkpoint was written": in_writing,
        }.get(kind, after_lines(min(reached + dice.randrange(1, goal // 3), goal - 2), dice.random() / 20))
        if training.kill_when(moment, "one" if kind == "one rank of two" else "all"):
            KILLS[f"{mode}, {kind}"] = KILLS.get(f"{mode}, {kind}", 0) + 1
    training.finish()
    assert_same(training, reference(mode))
    with capsys.disabled():
        print(f"\n{sum(KILLS.values())} kills so far:", "; ".join(f"{n} {kind}" for kind, n in KILLS.items()))


@pytest.mark.slow
def test_killed_in_the_middle_of_a_lambda_schedule(tmp_path, reference):
    training = Training(tmp_path, "killed", MODES["schedule, two processes"])
    updates = [row for row in reference("schedule, two processes").rows() if "schedule/lambda@w4" in row]
    assert len(updates) > 3
    assert updates[0]["schedule/lambda@w4"] > updates[-1]["schedule/lambda@w4"]
    for count in (2, 3):
        assert training.kill_when(lambda t, n=count: sum("schedule/lambda@w4" in line for line in t.lines()) >= n)
    training.finish()
    assert_same(training, reference("schedule, two processes"))


@pytest.mark.slow
def test_ended_in_an_epoch_and_at_the_end_of_one_and_made_longer(tmp_path, reference):
    training = Training(tmp_path, "longer", MODES["two processes"])
    whole = training.command
    for steps in (33, 40, STEPS):
        training.command = [*(part for part in whole if "max_steps" not in part), f"trainer.max_steps={steps}"]
        training.finish()
        assert len([row for row in training.rows() if "train/loss" in row]) == steps
    assert_same(training, reference("two processes"))


@pytest.mark.slow
def test_torchrun_starts_again_after_a_killed_rank(tmp_path, reference):
    training = Training(tmp_path, "killed", MODES["two processes"])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    training.command = [*launcher, "-m", *training.command[2:]]
    process = training.start()
    moment = after_lines(25, 0.01)
    while not moment(training):
        assert process.poll() is None, (tmp_path / "killed.log").read_text()[-3000:]
        time.sleep(0.001)
    os.kill(training._rank_1(), signal.SIGKILL)
    assert process.wait(timeout=300) == 0, (tmp_path / "killed.log").read_text()[-3000:]
    assert_same(training, reference("two processes"))


@pytest.mark.slow
def test_there_were_enough_kills():
    assert sum(KILLS.values()) >= 20, KILLS
