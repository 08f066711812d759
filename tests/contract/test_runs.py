"""What every command promises that reads several runs, whatever their folders are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nic_lightning.cli import main
from tests.report.samples import learned_rows, make_run


@pytest.fixture
def twins(tmp_path: Path) -> list[str]:
    """Two models whose folders have one name, and whose tables recorded one name, too."""
    folders = [tmp_path / place / "mod" for place in ("A", "B")]
    for folder, scale in zip(folders, (1.0, 1.5), strict=True):
        make_run(folder, [{**row, "run": "mod"} for row in learned_rows(scale=scale, experiment="mod")])
    return [str(folder) for folder in folders]


def written(out: Path) -> str:
    """All text files, the page last."""
    files = sorted((path for path in out.rglob("*") if path.is_file()), key=lambda path: (path.suffix == ".html", path))
    return "\n".join(path.read_text() for path in files if path.suffix != ".png")


@pytest.mark.parametrize(
    "command",
    [["bd", "RUNS"], ["results", "RUNS", "-o", "OUT"], ["report", "RUNS", "-o", "OUT/page.html", "--figures", "OUT"]],
)
def test_two_runs_of_one_name_stay_two(command: list[str], twins: list[str], tmp_path: Path, capsys):
    words = [word.replace("OUT", str(tmp_path / "out")) for word in command]
    assert main([one for word in words for one in (twins if word == "RUNS" else [word])]) == 0
    text = capsys.readouterr().out + (written(tmp_path / "out") if (tmp_path / "out").exists() else "")
    for name in ("modulated (A/mod)", "modulated (B/mod)"):
        assert name in text
    mean_of_both = r"[^.\d]0\.125\d*"  # of .1 and .15 bpp
    assert not re.search(mean_of_both, text.partition("<!DOCTYPE html>")[0])


def test_lists_name_them_apart(twins: list[str], tmp_path: Path, capsys):
    assert main(["runs", "list", str(tmp_path), "--json"]) == 0
    names = [line["name"] for line in json.loads(capsys.readouterr().out)]
    assert len(set(names)) == 2
    assert [name.endswith(end) for name, end in zip(names, ("A/mod", "B/mod"), strict=True)] == [True, True]
