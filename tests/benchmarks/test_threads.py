"""`nic bench threads`: what is measured, beside what, and what it prints."""

from __future__ import annotations

import subprocess

import pytest

from nic_lightning import cli
from nic_lightning.benchmarks import threads
from nic_lightning.errors import UserError


def test_settings_take_turns_alone_and_beside_a_busy_core(monkeypatch, capsys):
    busy, seen = [], []
    real = subprocess.Popen

    def popen(*args, **named):
        busy.append(real(*args, **named))
        return busy[-1]

    def pace(kind, spins, count, seconds):
        seen.append((kind, spins, count, seconds, bool(busy) and busy[-1].poll() is None))
        return 2.0 if seen[-1][-1] else 8.0

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(threads, "_in_process", pace)
    assert cli.main(["bench", "threads", "--spins", "7", "--threads", "2", "--seconds", "1", "--rounds", "1"]) == 0
    each = [(spins, 2, 1.0, beside) for spins in ("default", "7") for beside in (False, True)]
    assert seen == [(kind, *rest) for kind in ("training", "flow") for rest in each]
    assert all(process.poll() is not None for process in busy)
    out = capsys.readouterr().out
    assert out.count("8.00 (1.00)") == out.count("2.00 (0.25)") == 4


def test_a_process_does_as_it_is_told(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    given = {}

    def run(command, env, **_):
        given.update(env)
        return subprocess.CompletedProcess(command, 0, "a line\n3.5\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert threads._in_process("training", "55", 2, 1.0) == 3.5
    assert given["GOMP_SPINCOUNT"] == "55"
    assert "OMP_WAIT_POLICY" not in given
    given.clear()
    threads._in_process("training", threads.DEFAULT, 2, 1.0)
    assert "GOMP_SPINCOUNT" not in given


@pytest.mark.parametrize("kind", threads.KINDS)
def test_work_is_counted(kind):
    assert threads.work(kind, 1, 0.01) > 0


def test_spins_are_numbers(capsys):
    assert cli.main(["bench", "threads", "--spins", "often"]) == 2
    assert capsys.readouterr().err.startswith("--spins often is no number")


def test_a_process_that_fails_says_why():
    with pytest.raises(UserError, match="KeyError: 'nothing'"):
        threads._in_process("nothing", "1000", 1, 0.1)
