"""Threads of a run on a machine that others may use."""

import os
import subprocess
import sys

import psutil
import pytest

from nic_lightning.runs.machine import threads


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores that others keep busy by a percentage; no variable says how threads wait."""
    for name in (*threads._CHOSEN, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)

    def busy(percent):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: percent)

    yield busy
    os.environ.pop("GOMP_SPINCOUNT", None)


def test_threads_spin_briefly(machine):
    threads.spin_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == threads.SPINS


@pytest.mark.parametrize("chosen", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}, {"OMP_NUM_THREADS": "1"}])
def test_what_the_user_chose_stays(machine, monkeypatch, chosen):
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    threads.spin_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == chosen.get("GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("percent", "spins", "said"),
    [(60.0, threads.SPINS_IF_BUSY, "60 % of this machine's cores"), (3.0, threads.SPINS, "")],
)
def test_on_a_busy_machine_threads_sleep_at_once(machine, capsys, percent, spins, said):
    machine(percent)
    threads.spin_briefly()
    threads.share_busy_machine()
    assert os.environ["GOMP_SPINCOUNT"] == spins
    assert said in capsys.readouterr().err


def test_on_a_busy_machine_what_the_user_chose_stays(machine, monkeypatch, capsys):
    machine(90.0)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    threads.spin_briefly()
    threads.share_busy_machine()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("program", ["cli", "train", "evaluate"])
def test_every_program_does_so_before_torch_is_loaded(program):
    code = (
        "import os, sys; os.environ.pop('GOMP_SPINCOUNT', None); os.environ.pop('OMP_NUM_THREADS', None)\n"
        "from nic_lightning.runs.machine import threads\n"
        "threads.usable_cores = lambda: 4\n"
        f"sys.argv = ['nic', '--version']; from nic_lightning.{program} import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split()[-2:] == [threads.SPINS, "False"], done.stdout + done.stderr
