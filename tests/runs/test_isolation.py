from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nic_lightning.errors import RunError
from nic_lightning.runs import isolation
from nic_lightning.runs.isolation import run_job


@pytest.fixture
def calls(monkeypatch):
    """What would have been started; `calls.code` is the exit code that is given back."""
    seen = SimpleNamespace(started=[], code=0)

    def fake(command, **arguments):
        seen.started.append((command, arguments))
        return subprocess.CompletedProcess(command, seen.code)

    monkeypatch.setattr(isolation.subprocess, "run", fake)
    monkeypatch.setattr(sys, "argv", ["nic-train", "-m", "codec.lmbda=64,128"])
    return seen


def test_runs_the_job_in_its_own_process_and_folder(calls, tmp_path):
    run_job(tmp_path / "codec.lmbda=64", ["codec.lmbda=64", "seed=1"], "/somewhere")
    ((command, arguments),) = calls.started
    assert command[:3] == [sys.executable, "-m", "nic_lightning.train"]
    assert command[3:5] == ["codec.lmbda=64", "seed=1"]
    assert "-m" not in command[3:]  # one job, not the sweep again
    assert "codec.lmbda=64,128" not in command
    assert arguments["cwd"] == "/somewhere"


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "codec.lmbda=64,seed=1",
        "with space",
        "lambdas=[64,128]",
        "data.train='a b'",
        'name="x"',
        "it's",
        "a{b}c",
        "täg",
    ],
)
def test_any_folder_name_arrives_as_it_is(calls, tmp_path, name):
    run_job(tmp_path / name, [], "/")
    override = OverridesParser.create().parse_override(calls.started[0][0][-1])
    assert override.key_or_group == "hydra.run.dir"
    assert override.value() == str(tmp_path / name)


def test_distributed_variables_stay_behind(calls, tmp_path, monkeypatch):
    for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PL_GLOBAL_SEED"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("NIC_DATA", "/data")
    run_job(tmp_path, [], "/")
    environment = calls.started[0][1]["env"]
    assert not {"LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "PL_GLOBAL_SEED"} & environment.keys()
    assert environment["NIC_DATA"] == "/data"
    assert environment["PATH"] == os.environ["PATH"]


def test_hydras_own_options_are_forwarded(calls, tmp_path, monkeypatch):
    arguments = ["--config-dir", "/mine", "-m", "seed=1,2", "--config-name=other", "-cd", "/too", "--config-path"]
    monkeypatch.setattr(sys, "argv", ["nic-train", *arguments])
    run_job(tmp_path, ["seed=1"], "/")
    command = calls.started[0][0]
    assert command[3:-1] == ["--config-dir", "/mine", "--config-name=other", "-cd", "/too", "seed=1"]


def test_a_failing_job_is_named(calls, tmp_path):
    calls.code = 3
    with pytest.raises(RunError, match=r"sweep/a failed with exit code 3; the same command continues it"):
        run_job(tmp_path / "sweep" / "a", [], "/")
