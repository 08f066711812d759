"""`nic runs` and `nic resume` as far as no training is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nic_lightning import cli
from nic_lightning.commands import resume as command
from nic_lightning.runs.record import RunRecord, to_yaml
from nic_lightning.runs.resume import Start


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """runs/good is finished, runs/bad half done."""
    monkeypatch.chdir(tmp_path)
    for name, state in (("good", "finished"), ("bad", "failed")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(to_yaml({"name": name, "trainer": {"max_steps": 4}}))
        RunRecord(folder).finish(state, None if state == "finished" else "RunError: no disk")
    return tmp_path / "runs"


def test_list(runs, capsys):
    assert cli.main(["runs", "list"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["runs/bad", "failed"],
        ["runs/good", "finished"],
    ]
    assert cli.main(["runs", "list", str(runs / "bad"), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["name"], line["state"], line["problem"]) == ("bad", "failed", "RunError: no disk")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs", "list", "gone"], "gone does not exist"),
        (["resume", "gone"], "gone does not exist"),
        (["resume", "runs/bad"], "runs/bad holds no training"),
        (["runs", "reproduce", "runs"], "runs holds 2 runs; name one, such as runs/bad"),
        (["runs", "reproduce", "runs/bad"], "environment.json is missing"),
    ],
)
def test_one_sentence_each(runs, arguments, sentence, capsys):
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_sweep_goes_on_after_a_job_that_fails(runs, monkeypatch, capsys):
    """Jobs: one finished, one damaged, one that fails, one that ends well."""
    codes = {"fails": 3, "works": 0}
    for name in codes:
        (runs / name).mkdir()
        RunRecord(runs / name).finish("failed")

    def prepare(folder, extra, force):
        assert extra == ["trainer.max_steps=9"]
        if folder.name == "bad":
            raise command.RunError("bad is damaged.")
        if folder.name == "good":
            return None
        return Start([sys.executable, "-c", f"import sys; sys.exit({codes[folder.name]})"], runs, {})

    monkeypatch.setattr(command, "prepare", prepare)
    assert cli.main(["resume", "runs", "trainer.max_steps=9"]) == 1
    out, err = capsys.readouterr()
    assert out == "2 of 4 runs are finished; 2 were continued now.\n"
    assert "Continuing runs/works (4 of 4)" in err
    assert "bad is damaged." in err
    assert "runs/fails failed with exit code 3." in err


def test_listing_imports_nothing_heavy(runs):
    code = (
        "import sys; from nic_lightning import cli; cli.main(['runs', 'list'])\n"
        "print(sorted({'torch', 'hydra', 'pytorch_lightning'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
