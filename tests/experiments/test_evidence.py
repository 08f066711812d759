"""The table of evidence: complete, backed by files, the same in README, and readable by commands."""

from __future__ import annotations

import csv
import shlex
import subprocess
from pathlib import Path

import pytest

from nic_lightning import cli
from nic_lightning.errors import UserError
from nic_lightning.report.experiments.evidence import CHECKOUT, NONE, markdown, read_evidence

FOLDER = CHECKOUT / "experiments"
ROWS = read_evidence()
WORKS = {
    "thesis, figure ": "2.3 2.4 2.5 3.4 3.6 3.7 3.8 3.9 3.10 3.11 4.5 4.6 4.7 4.8 4.9 4.10 4.11 5.3 5.4 5.5",
    "thesis, table ": "2.1 3.1 3.2 3.3 3.4 4.1 4.2 4.3 5.1 5.2 5.3 5.4 5.5 5.6",
    "motion paper, figure ": "2 4 5 6",
}


def test_every_table_and_figure_has_a_row() -> None:
    items = [row.item for row in ROWS]
    wanted = [prefix + number for prefix, numbers in WORKS.items() for number in numbers.split()]
    assert sorted(item for item in items if not item.startswith("talk")) == sorted(wanted)
    assert len(items) == len(set(items)) == 49


def test_what_was_measured_is_on_record() -> None:
    for row in ROWS:
        on_record = row.record != NONE
        assert on_record == (row.measured != NONE), row.item
        assert not on_record or (FOLDER / row.record).is_file(), row.record
        assert on_record == (row.date != NONE) == (row.commit != NONE), row.item
        assert on_record or row.verdict in ("open", "needs data or GPU"), row.item
        script = shlex.split(row.command)[0]
        assert not script.startswith("experiments/") or (CHECKOUT / script).is_file(), row.command


@pytest.mark.parametrize(
    ("item", "codec"),
    [
        ("thesis, figure 2.3", "modulated"),
        ("thesis, figure 2.3", "bottleneck_scaling"),
        ("thesis, figure 3.4", "width 12"),
        ("thesis, figure 3.7", "scheduled, SlimGDN+"),
        ("thesis, figure 3.7", "naive, SlimGDN+"),
        ("thesis, figure 3.11", "scalable"),
        ("thesis, figure 3.11", "slimmable, context"),
    ],
)
def test_numbers_are_those_of_the_records(item: str, codec: str) -> None:
    (row,) = (row for row in ROWS if row.item == item)
    with (FOLDER / row.record).open(encoding="utf-8", newline="") as file:
        (found,) = (line for line in csv.DictReader(file) if (line["codec"], line["metric"]) == (codec, "psnr"))
    assert f"{float(found['bd_rate']):+.1f} %" in row.measured


def test_readme_has_the_table() -> None:
    assert markdown(ROWS) in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_commands_read_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["experiment", "list", "--verdict", "reproduced"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [row.name for row in ROWS if row.verdict == "reproduced"]
    assert cli.main(["experiment", "show", "thesis-table-3.2"]) == 0
    assert "200.28 million" in capsys.readouterr().out
    started: list[list[str]] = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, **_: started.append(words) or subprocess.CompletedProcess(words, 3)
    )
    assert cli.main(["experiment", "run", "thesis-table-2.1"]) == 3
    assert started[0][1:] == ["-m", "nic_lightning.cli", "inspect", "codec=modulated"]


def test_mistakes_are_sentences(refused, tmp_path: Path) -> None:
    assert "no table or figure 'thesis-table-9'" in refused("experiment", "show", "thesis-table-9")
    assert "No figure is drawn of it yet" in refused("experiment", "run", "thesis-figure-2.5")
    with pytest.raises(UserError, match="part of the repository"):
        read_evidence(tmp_path)
    text = (FOLDER / "evidence.yaml").read_text()
    for old, new, said in [
        ("verdict: open", "verdict: fine", "verdict 'fine'"),
        ("cost: 1 min", "costs: 1", "in this"),
    ]:
        (tmp_path / "evidence.yaml").write_text(text.replace(old, new, 1))
        with pytest.raises(UserError, match=said):
            read_evidence(tmp_path)
