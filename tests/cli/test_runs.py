"""`nic runs` and `nic resume` as far as no training is needed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from nic_lightning import cli
from nic_lightning.commands import resume as command
from nic_lightning.runs.machine.process import this_process
from nic_lightning.runs.record.record import RunRecord, to_yaml
from nic_lightning.runs.record.results import write_results
from nic_lightning.runs.resume.resume import Start


def row(codec, label, bpp, psnr):
    return {"dataset": "kodak", "item": f"{bpp}.png", "codec": codec, "label": label, "bpp": bpp, "psnr": psnr}


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


def test_list_sorts_and_chooses(runs, capsys):
    for name, loss in (("good", 2.0), ("bad", float("nan"))):
        RunRecord(runs / name).log(1, {"train/loss": loss})
    assert cli.main(["runs", "tag", "runs/good", "+paper", "+small", "-small", "-never"]) == 0
    assert capsys.readouterr().out == "paper\n"

    def names(*options):
        assert cli.main(["runs", "list", "--json", *options]) == 0
        return [line["name"] for line in json.loads(capsys.readouterr().out)]

    assert names() == ["runs/bad", "runs/good"]
    assert names("--sort", "loss") == ["runs/good", "runs/bad"]
    assert names("--tag", "paper") == ["runs/good"]
    assert names("--tag", "paper", "--tag", "other") == []
    assert names("--state", "failed", "--state", "finished") == ["runs/bad", "runs/good"]
    assert names("--state", "running") == []
    assert cli.main(["runs", "list", "--tag", "paper", "--state", "failed"]) == 0
    assert capsys.readouterr().out == "None of 2 runs in runs has the tag paper and state failed.\n"


def test_show(runs, capsys):
    RunRecord(runs / "good").log(1, {"train/loss": 2.0, "train/bpp@64": 0.25, "train/bpp@512": 0.75})
    write_results(runs / "good" / "results.parquet", [row("modulated", "64", 0.2, 30), row("modulated", "64", 0.4, 34)])
    (runs / "good" / "checkpoints").mkdir()
    (runs / "good" / "checkpoints" / "last.ckpt").write_bytes(b"0" * 2**20)
    assert cli.main(["runs", "show", "runs/good", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["step"], found["max_steps"]) == ("finished", 2, 4)
    assert found["metrics"] == {"train/loss": 2.0, "train/bpp": 0.5}
    assert found["config"] == {"trainer.max_steps": "4"}
    (point,) = found["results"]
    assert (point["point"], point["images"], point["psnr"]) == ("64", 2, 32)
    assert point["bpp"] == pytest.approx(0.3)
    assert [(c["name"], c["bytes"]) for c in found["checkpoints"]] == [("last.ckpt", 2**20)]
    assert cli.main(["runs", "show", "runs/good"]) == 0
    out = capsys.readouterr().out
    for text in ("2 of 4", "last.ckpt", "1.0 MiB", "train/bpp", "32.0000"):
        assert text in out
    assert cli.main(["runs", "show", "runs/bad"]) == 0
    assert "RunError: no disk" in capsys.readouterr().out


def test_diff(runs, capsys):
    (runs / "bad" / "config.yaml").write_text("name: bad\ntrainer: {max_steps: 8}\ndata: {crop: 64}\n")
    assert cli.main(["runs", "diff", "runs/good", "runs/bad", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"] == {"trainer.max_steps": [4, 8], "data.crop": [None, 64]}
    assert cli.main(["runs", "diff", "runs/good", "runs/bad"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["key", "runs/good", "runs/bad"],
        ["trainer.max_steps", "4", "8"],
        ["data.crop", "-", "64"],
    ]
    assert cli.main(["runs", "diff", "runs/good", "runs/good"]) == 0
    assert "nothing" in capsys.readouterr().out


def test_rm(runs, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert cli.main(["runs", "rm", "runs/good"]) == 1
    assert (runs / "good" / "status.json").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli.main(["runs", "rm", "runs/good"]) == 0
    assert sorted(os.listdir(runs)) == ["bad"]
    outside = runs.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (runs / "bad" / "link").symlink_to(outside)
    assert cli.main(["runs", "rm", "--yes", "runs/bad", "runs/bad/"]) == 0
    assert os.listdir(runs) == []
    assert (outside / "kept").exists()


def test_what_rm_refuses(runs, capsys, monkeypatch):
    """Together with a run that it would delete, which stays, too."""
    (runs / "link").symlink_to(runs / "good")
    (runs / "alive").mkdir()
    status = {"state": "running", "started": "x", "process": this_process()}
    (runs / "alive" / "status.json").write_text(json.dumps(status))
    (runs / "away").mkdir()
    away = {"state": "running", "process": this_process() | {"host": "elsewhere"}}
    (runs / "away" / "status.json").write_text(json.dumps(away))
    (runs / "held").mkdir()
    RunRecord(runs / "held").finish("finished")
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(); sys.stdin.read()"
    command = [sys.executable, "-c", holder, str(runs / "held" / ".lock")]
    before = sorted(runs.rglob("*"))
    monkeypatch.setattr("nic_lightning.runs.resume.folder.other_process", lambda s: 7 if s == status else None)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for name, sentence in {
            "runs": "runs is no run folder",
            "runs/link": "is a link",
            "runs/gone": "does not exist",
            "runs/alive": "is being trained by process 7",
            "runs/away": "on another host",
            "runs/held": "was just taken",
            "/": "is no run folder",
        }.items():
            assert cli.main(["runs", "rm", "--yes", "runs/good", name]) == 2
            assert sentence in capsys.readouterr().err
        process.communicate()
    monkeypatch.chdir(runs / "good")
    assert cli.main(["runs", "rm", "--yes", "."]) == 2
    assert sorted(set(runs.rglob("*")) - {runs / "held" / ".lock"}) == before


def test_a_deletion_cut_short_leaves_no_half_run_in_the_list(runs, capsys, monkeypatch):
    def fails(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", fails)
    assert cli.main(["runs", "rm", "--yes", "runs/good"]) == 2
    assert "Permission denied; what is left of it is" in capsys.readouterr().err
    assert cli.main(["runs", "list", "--json"]) == 0
    assert [line["name"] for line in json.loads(capsys.readouterr().out)] == ["runs/bad"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["runs", "list", "gone"], "gone does not exist"),
        (["runs", "show", "gone"], "gone does not exist"),
        (["runs", "show", "runs"], "runs holds 2 runs; name one, such as runs/bad"),
        (["runs", "diff", "runs/good"], "Name two runs or more"),
        (["runs", "diff", "runs/good", "runs"], "runs holds 2 runs"),
        (["runs", "tag", "runs/good"], "Say what to change"),
        (["runs", "tag", "runs/good", "paper"], "'paper' is no change of tags"),
        (["runs", "push", "gone"], "gone does not exist"),
        (["resume", "gone"], "gone does not exist"),
        (["resume", "runs/bad"], "runs/bad holds no training"),
        (["runs", "reproduce", "runs"], "runs holds 2 runs; name one, such as runs/bad"),
        (["runs", "reproduce", "runs/bad"], "environment.json is missing"),
    ],
)
def test_one_sentence_each(runs, arguments, sentence, refused):
    assert sentence in refused(*arguments)


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
