from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nic_lightning import config
from nic_lightning.errors import RunError
from nic_lightning.runs.sweep import isolation
from nic_lightning.runs.sweep.isolation import JobFailed, run_job

JOB = {"seed": 0, "codec": {}, "fresh": False, "trainer": {"accelerator": "cpu"}, "launch": {"slots": None}}


@pytest.fixture
def hydra(tmp_path):
    """The part of Hydra's config that a job's start looks at."""
    main = {"path": str(config.CONF_DIR), "schema": "file", "provider": "main"}
    runtime = {"cwd": str(tmp_path), "choices": {"hydra/launcher": "joblib"}, "config_sources": [main]}
    return OmegaConf.create(
        {"runtime": runtime, "job": {"config_name": "train"}, "overrides": {"task": ["codec.lmbda=64", "seed=1"]}}
    )


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sweep" / "seed=1"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Let the job run this Python text instead of a training."""

    def use(text: str) -> None:
        monkeypatch.setattr(isolation, "_command", lambda folder, hydra: [sys.executable, "-c", text, str(folder)])

    monkeypatch.setattr(isolation, "_POLL", 0.01)
    return use


def test_the_command_is_one_job_in_its_folder_tied_to_this_process(hydra, folder):
    command = isolation._command(folder, hydra)
    assert command[:4] == [sys.executable, "-m", "nic_lightning.runs.machine.ends_with_parent", str(os.getpid())]
    assert command[4:-2] == [sys.executable, "-m", "nic_lightning.train", "codec.lmbda=64", "seed=1"]
    assert command[-1] == f"hydra.run.dir='{folder}'"


@pytest.mark.parametrize(
    "name", ["plain", "a=1,b=2", "with space", "[64,128]", "it's", 'say "x"', "a{b}c", "täg", "b\\", "b\\'", "\\\\"]
)
def test_any_folder_name_arrives_as_it_is(hydra, tmp_path, name):
    override = OverridesParser.create().parse_override(isolation._command(tmp_path / name, hydra)[-1])
    assert override.key_or_group == "hydra.run.dir"
    assert override.value() == str(tmp_path / name)


def test_options_about_configs_are_forwarded_from_what_hydra_understood(hydra, folder):
    hydra.runtime.config_sources[0].path = "/mine"
    hydra.runtime.config_sources.append({"path": "/too", "schema": "file", "provider": "command-line"})
    hydra.job.config_name = "other"
    options = ["--config-path", "/mine", "--config-dir", "/too", "--config-name", "other"]
    assert isolation._command(folder, hydra)[7:13] == options


def test_a_job_has_an_environment_of_its_own_and_a_log(hydra, folder, script, monkeypatch, capsys):
    left_out = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "PL_GLOBAL_SEED", "SLURM_PROCID", "SLURM_NTASKS")
    for name in left_out:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("NIC_DATA", "/data")
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    script(
        "import warnings; warnings.warn('The `srun` command is available on your system but is not used.')\n"
        "import json, os, sys; print(json.dumps(dict(os.environ))); print(os.getcwd(), 'grün', file=sys.stderr)"
    )
    run_job(folder, JOB, hydra)
    lines = (folder / "output.log").read_text().splitlines()
    environment = json.loads(next(line for line in lines if line.startswith("{")))
    assert not set(left_out) & environment.keys()
    assert environment["NIC_DATA"] == "/data"
    assert lines[-1] == f"{hydra.runtime.cwd} grün"
    assert len(lines) == 2  # no advice to use srun
    assert capsys.readouterr().out.splitlines() == ["seed=1 starts", "seed=1 is finished"]


def test_the_basic_launcher_shows_the_log(hydra, folder, script, capsys):
    hydra.runtime.choices["hydra/launcher"] = "basic"
    folder.mkdir(parents=True)
    (folder / "output.log").write_text("earlier\n")
    script("import sys; sys.stdout.buffer.write('ü'.encode()[:1]); sys.stdout.flush(); import time; time.sleep(0.1);"
           "sys.stdout.buffer.write('ü'.encode()[1:] + b' now\\n')")  # fmt: skip
    run_job(folder, JOB, hydra)
    assert capsys.readouterr().out == "seed=1 starts\nü now\nseed=1 is finished\n"
    assert (folder / "output.log").read_text() == "earlier\nü now\n"


STATUS = "import sys, pathlib; pathlib.Path(sys.argv[1], 'status.json').write_text({!r}); print('bye'); sys.exit({})"


@pytest.mark.parametrize(
    ("text", "code", "exit_code", "reason"),
    [
        ("import sys; print('first'); print(' No data. \\n\\n'); sys.exit(2)", 2, 2, "No data."),
        ("import sys; sys.exit(3)", 3, 1, "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", -9, 1, "killed by SIGKILL"),
        (STATUS.format('{"state": "failed", "error": "ValueError: one\\ntwo"}', 1), 1, 1, "ValueError: one two"),
        (STATUS.format('{"state": "running"}', 1), 1, 1, "bye"),
        (STATUS.format("damaged", 1), 1, 1, "bye"),
    ],
)
def test_a_failing_job_tells_why(hydra, folder, script, text, code, exit_code, reason):
    script(text)
    with pytest.raises(JobFailed) as failed:
        run_job(folder, JOB, hydra)
    assert (failed.value.code, failed.value.exit_code, failed.value.reason) == (code, exit_code, reason)
    assert str(failed.value) == f"{folder}: {reason}"


def test_an_old_status_is_no_reason(hydra, folder, script):
    folder.mkdir(parents=True)
    (folder / "status.json").write_text('{"state": "failed", "error": "of yesterday"}')
    script("import sys; print('No disk.'); sys.exit(2)")
    with pytest.raises(JobFailed, match=r"No disk\."):
        run_job(folder, JOB, hydra)


def make_run(folder: Path, state: str, **changes: object) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(json.dumps({**JOB, **changes}))
    (folder / "status.json").write_text(json.dumps({"state": state}))


def test_a_finished_job_is_left_alone(hydra, folder, script, capsys):
    make_run(folder, "finished")
    script("raise SystemExit(1)")
    run_job(folder, JOB, hydra)
    assert capsys.readouterr().out == f"{folder} is finished already.\n"
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "status.json"]


def test_fresh_moves_a_finished_job_aside(hydra, folder, script):
    make_run(folder, "finished")
    (folder / "output.log").write_text("first")
    script("print('again')")
    run_job(folder, {**JOB, "fresh": True}, hydra)
    assert [path.name for path in folder.iterdir()] == ["output.log"]
    (old,) = folder.parent.glob("seed=1.replaced-*")
    assert sorted(path.name for path in old.iterdir()) == ["config.yaml", "output.log", "status.json"]
    assert (old / "output.log").read_text() == "first"


def test_the_folder_of_another_run_is_refused_and_left_as_it_was(hydra, folder, script):
    make_run(folder, "failed", seed=7)
    (folder / "metrics.jsonl").touch()
    script("pass")
    with pytest.raises(RunError, match="holds another run: seed is 7 there and 0 here"):
        run_job(folder, JOB, hydra)
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "metrics.jsonl", "status.json"]


def test_two_processes_never_work_in_one_folder(hydra, folder, script, monkeypatch):
    script("pass")
    with isolation._own(folder) as log:
        log.write(b"busy\n")
        log.flush()
        monkeypatch.setattr(isolation, "_PATIENCE", 0)
        with pytest.raises(RunError, match="is in use by another process"):
            run_job(folder, JOB, hydra)
    run_job(folder, JOB, hydra)


def test_a_slurm_job_of_many_tasks_is_refused(hydra, folder, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(RunError, match="starts its ranks itself"):
        run_job(folder, JOB, hydra)
    assert not folder.exists()


def test_an_interrupted_job_may_end_in_peace(tmp_path):
    class Process:
        polls = 0
        killed = False

        def wait(self, timeout):
            self.polls += 1
            if self.polls in (1, 3):
                raise KeyboardInterrupt
            if self.polls < 4:
                raise subprocess.TimeoutExpired("job", timeout)
            return -9

        def kill(self):
            self.killed = True
            assert self.polls == 3

    process, shown = Process(), []
    with pytest.raises(KeyboardInterrupt):
        isolation._wait(process, lambda: shown.append(process.polls))
    assert process.killed
    assert shown == [2, 4]


LAUNCHER = """
import os, subprocess, sys
tether = [sys.executable, "-m", "nic_lightning.runs.machine.ends_with_parent", str(os.getpid())]
job = subprocess.Popen([*tether, sys.executable, "-c", sys.argv[1]], stdout=sys.stdout)
job.wait()
"""
TRAINING = """
import os, signal, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), os._exit(0)))
print(os.getpid(), signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN, flush=True)
while True:
    time.sleep(1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux sends the signal")
def test_a_job_ends_with_its_launcher_and_may_save():
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, TRAINING], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout
    with launcher.stdout as lines:
        pid, ignores = lines.readline().split()
        assert ignores == "True"
        launcher.kill()
        launcher.wait()
        try:
            assert lines.readline() == "saved\n"
            assert lines.readline() == ""  # the job is gone: nobody holds the other end
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
