"""`nic bench startup` on one cheap command: what it runs, counts and prints, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.benchmarks import startup
from nic_lightning.errors import UserError

ROOT = Path(startup.__file__).parents[2]


def test_both_builds_are_run_and_compared(monkeypatch, capsys):
    monkeypatch.setattr(startup, "COMMANDS", {"nic --help": startup.COMMANDS["nic --help"]})
    monkeypatch.setattr(startup, "prepare", lambda checkout, folder: None)
    real, runs = startup.run, []
    monkeypatch.setattr(startup, "run", lambda checkout, *rest: runs.append(checkout) or real(checkout, *rest))
    assert cli.main(["bench", "startup", "--against", str(ROOT), "--rounds", "2"]) == 0
    assert runs == [ROOT] * 6  # the first round of both is not counted
    head, _, line, _, _, own, other = capsys.readouterr().out.splitlines()
    assert "medians of 2" in head
    seconds = re.fullmatch(r"nic --help +([\d.]+) +([\d.]+) +([\d.]+)", line)
    assert seconds is not None
    assert all(float(value) > 0 for value in seconds.groups())
    assert re.fullmatch(r"nic --help +this build  cyclopts, rich", own)
    assert re.fullmatch(r"nic --help +the other  cyclopts, rich", other)


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(UserError, match=r"compress nothing\.png failed: "):
        startup.run(ROOT, tmp_path, ("cli", "compress", "nothing.png"))


def test_a_folder_without_the_project_is_refused(tmp_path, capsys):
    assert cli.main(["bench", "startup", "--against", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"{tmp_path} is no checkout of this project: it has no nic_lightning/__init__.py.\n"
    )


def test_a_command_that_the_other_build_lacks_is_a_gap(monkeypatch, tmp_path, capsys):
    (tmp_path / "nic_lightning").mkdir()
    (tmp_path / "nic_lightning" / "__init__.py").touch()
    monkeypatch.setattr(startup, "COMMANDS", {"nic --help": startup.COMMANDS["nic --help"]})
    monkeypatch.setattr(startup, "prepare", lambda checkout, folder: None)
    assert cli.main(["bench", "startup", "--against", str(tmp_path), "--rounds", "1"]) == 0
    assert re.search(r"^nic --help +[\d.]+ +nan +nan$", capsys.readouterr().out, re.MULTILINE)
