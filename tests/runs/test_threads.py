"""Threads of a run on a busy machine."""

import os

import psutil
import pytest

from nic_lightning.runs.machine import threads


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores that others keep busy by a percentage; no variable says how threads wait."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)

    def busy(percent):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: percent)

    yield busy
    os.environ.pop("GOMP_SPINCOUNT", None)


def test_threads_stop_spinning_where_others_need_the_cores(machine, capsys):
    machine(60.0)
    threads.share_busy_machine()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    assert "60 % of this machine's cores" in capsys.readouterr().err


def test_an_idle_machine_keeps_the_default(machine, capsys):
    machine(3.0)
    threads.share_busy_machine()
    assert "GOMP_SPINCOUNT" not in os.environ
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("chosen", [{"OMP_WAIT_POLICY": "active"}, {"OMP_NUM_THREADS": "1"}])
def test_what_the_user_chose_stays(machine, monkeypatch, chosen, capsys):
    machine(90.0)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    threads.share_busy_machine()
    assert "GOMP_SPINCOUNT" not in os.environ
    assert capsys.readouterr().err == ""
