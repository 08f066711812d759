"""`nic bench report` on two small runs: what it prints, and that a kept folder is used again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.benchmarks import report


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.shutil, "which", lambda name: None)


def test_it_times_the_making_of_a_sound_page(no_browser, tmp_path: Path, capsys):
    command = ["bench", "report", "--runs", "2", "--images", "2", "--points", "3", "--keep", str(tmp_path)]
    for _ in range(2):
        assert cli.main(command) == 0
        size, made, opened = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"2 runs, 12 rows: page of [\d.]+ MiB, 0 problems", size)
        assert re.fullmatch(r"made in [\d.]+ s \([\d.]+ s of processor time\)", made)
        assert opened.startswith("not opened: that takes Chromium")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["run000", "run001"]
    assert (tmp_path / "report.html").stat().st_size > 0
