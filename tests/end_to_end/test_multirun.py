"""Sweeps under every launcher: killed in the middle, and started again by the same command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from nic_lightning.runs.record.record import read_status
from nic_lightning.runs.record.results import read_results

from .conftest import Desk

TINY = (
    "codec=cae",
    "codec.width=8",
    "data.crop=64",
    "trainer.max_steps=2",
    "checkpoint.every_n_steps=1",
    "evaluation.limit=1",
    "evaluation.save_images=0",
    "logger=none",
)
LAMBDAS = ("64", "256", "512")
LAUNCHERS = ("local", "joblib", "submitit_local", "ray")


def state(job: Path) -> str:
    return read_status(job)["state"] if (job / "status.json").exists() else "none"


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def start(desk: Desk, arguments: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
    """nic-train as the leader of a process group of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in ("NIC_DATA", "HYDRA_FULL_ERROR")}
    environment |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nic_lightning.train", *arguments]
    with log.open("wb") as out:
        return subprocess.Popen(
            command, cwd=desk.folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def kill_in_the_middle(process: subprocess.Popen[bytes], jobs: list[Path]) -> None:
    """kill -9 the whole group when a job is done and another at work."""
    while process.poll() is None:
        states = Counter(map(state, jobs))
        if states["finished"] and states["running"]:
            break
        time.sleep(0.05)
    assert process.poll() is None, "the sweep ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["cpu", "ddp_cpu"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_sweep_does_what_is_missing(desk: Desk, launcher: str, trainer: str, tmp_path: Path) -> None:
    name = f"{launcher}_{trainer}"
    command = ("-m", f"launch={launcher}", f"name={name}", f"trainer={trainer}", *TINY)
    command += (f"codec.lmbda={','.join(LAMBDAS)}", "launch.slots=2")
    sweep = desk.folder / "runs" / name
    jobs = [sweep / f"codec.lmbda={label}" for label in LAMBDAS]
    kill_in_the_middle(start(desk, command, tmp_path / "first.log"), jobs)
    finished = [job for job in jobs if state(job) == "finished"]
    half_done = {job: read_status(job)["started"] for job in jobs if state(job) not in ("finished", "none")}
    assert finished
    assert half_done
    before = {path: stamp for job in finished for path, stamp in files(job).items()}

    again = start(desk, command, tmp_path / "second.log")
    output = (tmp_path / "second.log").read_text() if again.wait() in (0, 1, 2) else ""
    assert again.returncode == 0, output
    assert f"3 jobs in runs/{name}: 3 finished, 0 failed." in output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path.name for path in sweep.iterdir() if not path.name.startswith(".")} == {
        "jobs.jsonl",
        "multirun.yaml",
        *(job.name for job in jobs),
    }
    for job, label in zip(jobs, LAMBDAS, strict=True):
        assert state(job) == "finished"
        assert yaml.safe_load((job / "config.yaml").read_text())["codec"]["lmbda"] == float(label)
        assert {row["label"] for row in read_results(job / "results.parquet")} == {label}
        assert "PSNR" in (job / "output.log").read_text()
    assert {job: read_status(job)["started"] for job in half_done} == half_done  # it went on in its folder


def test_a_failing_job_is_told_at_the_end_and_the_others_are_one_comparison(desk: Desk) -> None:
    """One of two jobs starts from a file that is no checkpoint; it leaves its log, and no run."""
    (desk.folder / "damaged.ckpt").write_bytes(b"no checkpoint")
    done = desk("nic-train", "-m", *TINY, "name=partly", "init_from=damaged.ckpt,null", "evaluation.points=null")
    assert done.returncode == 2, done.stderr
    root = desk.folder / "runs" / "partly"
    bad = root / "init_from=damaged.ckpt"
    assert [path.name for path in bad.iterdir()] == ["output.log"]
    assert state(root / "init_from=null") == "finished"
    told = done.stderr[done.stderr.index("2 jobs in ") :].splitlines()
    assert told[0] == "2 jobs in runs/partly: 1 finished, 1 failed."
    assert told[1].startswith(f"  {bad}: ")
    assert "damaged.ckpt" in told[1]
    assert told[2:] == [
        f"    log: {bad / 'output.log'}",
        "The same command continues what is missing.",
        "To compare them: nic report runs/partly",
    ]
    assert "damaged.ckpt" in (bad / "output.log").read_text()
    assert "cae    1024" in done.stdout  # the terminal shows what the job writes
    assert "cae    1024" in (root / "init_from=null" / "output.log").read_text()
    report = desk("nic", "report", "runs/partly", "-o", "partly.html")
    assert report.returncode == 0, report.stderr
