from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.machine import process
from nic_lightning.runs.machine.process import life, other_process, this_process
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume.folder import claim

START = "from nic_lightning.runs.record.record import RunRecord; import sys\n"
START += "RunRecord(sys.argv[1]).start({'seed': 1}, [])"


@pytest.fixture
def child():
    """A process that waits for the end of its input."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        yield made
        made.kill()


def of(pid: int) -> dict:
    return {"state": "running", "process": {**this_process(), "pid": pid, "born": process._born(pid)}}


def test_life_and_death(child):
    status = of(child.pid)
    assert life(status) == "alive"
    assert other_process(status) == child.pid
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert life(status) == "dead"  # a zombie
    child.wait()
    assert life(status) == "dead"
    assert other_process(status) is None


def test_a_number_that_is_used_again_is_another_process(child):
    status = of(child.pid)
    status["process"]["born"] = of(os.getpid())["process"]["born"]
    assert life(status) == "dead"


def test_other_hosts_cannot_be_seen(child):
    status = of(child.pid)
    status["process"]["host"] = "elsewhere.example"
    assert life(status) == "elsewhere"
    assert other_process(status) is None


@pytest.mark.parametrize("found", [None, 1, [], {}, {"pid": "1"}, {"pid": True}, {"pid": -1}, {"pid": 2**70}])
def test_odd_statuses_are_dead(found):
    if isinstance(found, dict) and found:
        found = {**this_process(), **found}
    assert life({"state": "running", "process": found}) == "dead"


def test_one_is_not_another_process_to_oneself():
    status = {"state": "running", "process": this_process()}
    assert life(status) == "alive"
    assert other_process(status) is None


def test_without_proc(child, monkeypatch):
    monkeypatch.setattr(process, "Path", lambda *_: type("Missing", (), {"read_text": _missing})())
    status = of(child.pid)
    assert status["process"]["born"]
    assert life(status) == "alive"
    child.kill()
    child.wait()
    assert life(status) == "dead"


def _missing(self) -> str:
    raise FileNotFoundError


def test_a_killed_run_shows_as_interrupted(tmp_path):
    subprocess.run([sys.executable, "-c", START, str(tmp_path)], check=True)
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "running"
    assert read_run(tmp_path).state == "interrupted"
    assert claim(tmp_path, {"seed": 1}) == "continue"


def test_a_folder_that_another_process_is_at_is_refused(tmp_path):
    command = [sys.executable, "-c", f"{START}; print(flush=True); input()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert read_run(tmp_path).state == "running"
        for fresh in (False, True):
            with pytest.raises(RunError, match=f"is being trained by process {other.pid}"):
                claim(tmp_path, {"seed": 1}, fresh=fresh)
        other.kill()
    assert claim(tmp_path, {"seed": 1}) == "continue"


def test_a_run_on_another_host_counts_as_elsewhere(tmp_path):
    RunRecord(tmp_path).start({"seed": 1}, [])
    assert read_run(tmp_path).state == "running"  # by this very process
    status = json.loads((tmp_path / "status.json").read_text())
    status["process"]["host"] = "elsewhere.example"
    (tmp_path / "status.json").write_text(json.dumps(status))
    assert read_run(tmp_path).state == "elsewhere"
