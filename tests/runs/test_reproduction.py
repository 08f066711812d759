from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from nic_lightning.commands import reproduce as command
from nic_lightning.errors import RunError
from nic_lightning.runs.index.index import read_run
from nic_lightning.runs.machine import environment
from nic_lightning.runs.record.record import RunRecord
from nic_lightning.runs.resume import reproduction
from nic_lightning.runs.resume.reproduction import read, script

CONFIG = {"name": "toy", "trainer": {"max_steps": 4}}
OVERRIDES = ["name=toy", "data.train='a b'", "run_dir=elsewhere", "++fresh=true", "tags=['it\\'s']"]


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout of a small nic_lightning with one uncommitted change and one file that git does not know."""
    root = tmp_path / "checkout"
    (root / "nic_lightning" / "runs").mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(root / "nic_lightning" / "runs" / "environment.py"))
    monkeypatch.setattr(reproduction, "PACKAGE", root / "nic_lightning")
    module = root / "nic_lightning" / "__init__.py"
    module.write_text("value = 1\n")
    (root / "data.bin").write_bytes(bytes(range(256)))
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "one")
    git(root, "config", "diff.noprefix", "true")  # a user's settings shape no diff
    module.write_text("value = 2\n")
    (root / "data.bin").write_bytes(bytes(range(255, -1, -1)))
    (root / "notes.txt").write_text("mine")
    return root


@pytest.fixture
def run(checkout, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    RunRecord(tmp_path / "runs" / "toy").start(CONFIG, OVERRIDES)
    return tmp_path / "runs" / "toy"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


def change(run: Path, **facts) -> None:
    path = run / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_what_a_folder_tells(run, checkout):
    made = read(read_run(run))
    assert made.commit == git(checkout, "rev-parse", "HEAD").strip()
    assert made.checkout == checkout
    assert made.overrides == ["name=toy", "data.train='a b'", "tags=['it\\'s']"]
    assert "torch==" in made.constraints()
    assert "+" not in made.constraints()
    assert made.other_packages() == []
    assert made.notes == ["Files that git did not know were there, and are not kept (1): notes.txt."]
    made.packages["torch"] = "0.0.1"
    assert made.other_packages()[0].startswith("torch 0.0.1 (here ")


def test_the_script_does_what_it_says(run, checkout, tmp_path):
    """Run as printed, with stand-ins for the interpreter that it makes the environment with."""
    tools = tmp_path / "tools"
    tools.mkdir()
    python = f"python{'.'.join(read(read_run(run)).python.split('.')[:2])}"
    stub = '#!/bin/sh\nmkdir -p "$3/bin"\nfor t in pip nic-train; do\n'
    stub += 'printf \'#!/bin/sh\\npwd >> "%s/log"\\nprintf "[%%s]" "$@" >> "%s/log"\\necho >> "%s/log"\\n\' '
    stub += '"$OUTLOG" "$OUTLOG" "$OUTLOG" > "$3/bin/$t"\nchmod +x "$3/bin/$t"\ndone\n'
    (tools / python).write_text(stub)
    (tools / python).chmod(0o755)
    out = tmp_path / "again it's"
    text = script(read(read_run(run)), out)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "OUTLOG": str(tmp_path)}
    before = git(checkout, "status", "--porcelain"), git(checkout, "worktree", "list")
    subprocess.run(["sh"], input=text, text=True, check=True, cwd="/", env=environment)
    assert (out / "source" / "nic_lightning" / "__init__.py").read_text() == "value = 2\n"
    assert (out / "source" / "data.bin").read_bytes() == (checkout / "data.bin").read_bytes()
    assert not (out / "source" / "notes.txt").exists()
    assert "numpy==" in (out / "constraints.txt").read_text()
    log = (tmp_path / "log").read_text().splitlines()
    assert log[1] == f"[install][--quiet][-c][{out}/constraints.txt][--editable][{out}/source]"
    assert log[2] == str(tmp_path)  # relative paths mean what they meant
    run_dir = str(out / "run").replace("'", "\\'")
    assert log[3] == f"[name=toy][data.train='a b'][tags=['it\\'s']][run_dir='{run_dir}']"
    assert (git(checkout, "status", "--porcelain"), git(checkout, "worktree", "list")) == before
    assert subprocess.run(["sh"], input=text, text=True, check=False, capture_output=True).returncode  # never over it


def test_hostile_folders_cannot_add_commands(run):
    change(
        run, packages={"torch": "1\nEND\ntouch hacked", "a b": "1", "-e": "1", "fine": "1.0"}, python="3; touch hacked"
    )
    change(run, git={"commit": "HEAD; touch hacked", "untracked": ["a\ntouch hacked"], "untracked_count": "x"})
    change(run, cwd="/tmp\ntouch hacked", earlier=[{"git": {"commit": "\ntouch hacked"}}, 3])
    text = script(read(read_run(run)), run / "\ntouch hacked")
    words = [line.split() for line in text.splitlines()]
    assert "fine==1.0" in text
    assert ["touch", "hacked'"] in words  # within quotes only
    assert ["touch", "hacked"] not in words
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("override", ["--config-dir=/evil", "-m", "a b", "x=["])
def test_overrides_that_are_none(run, override):
    (run / "overrides.yaml").write_text(json.dumps(["name=x", override]))
    with pytest.raises(RunError, match=r"overrides\.yaml is damaged"):
        read(read_run(run))


def test_a_diff_that_was_cut_is_said_and_not_started(run, tmp_path, monkeypatch):
    facts = json.loads((run / "environment.json").read_text())["git"]
    change(run, git={**facts, "diff_cut": True})
    assert "# git.diff was cut" in script(read(read_run(run)), tmp_path / "again")
    with pytest.raises(RunError, match=r"cannot be reproduced: git\.diff was cut"):
        command.reproduce(run, start=True, out=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_run_of_several_starts_says_so(run):
    RunRecord(run).start(CONFIG, OVERRIDES)
    facts = json.loads((run / "environment.json").read_text())
    facts["earlier"][0]["git"]["commit"] = "0" * 40
    change(run, earlier=facts["earlier"])
    assert [note[:28] for note in read(read_run(run)).notes[1:]] == [
        "The run was started 2 times;",
        "Earlier starts had other com",
    ]


def test_a_run_that_computed_here_and_there_says_so(run):
    """What may change from start to start is recorded for each: the last config does not claim it for all steps."""
    starts = [(0, {"precision": "32-true", "devices": 1}), (40, {"precision": "bf16-mixed", "devices": 1})]
    for step, trainer in starts:
        record = RunRecord(run)
        record.start({**CONFIG, "trainer": trainer}, OVERRIDES)
        record.add_environment({"first_step": step})
    RunRecord(run).start({**CONFIG, "trainer": {"precision": "64-true"}}, OVERRIDES)  # failed before its first step
    (note,) = [note for note in read(read_run(run)).notes if "trainer" in note]
    assert note == (
        "trainer.precision was not the same for all steps: 32-true from step 0, then bf16-mixed from step 40."
    )


def test_without_a_checkout(run, tmp_path, capsys):
    change(run, git={"commit": "0" * 40})
    assert "set CHECKOUT to one that has" in script(read(read_run(run)), tmp_path / "again")
    with pytest.raises(RunError, match="does not have commit 000"):
        command.reproduce(run, start=True, out=tmp_path / "again")
    change(run, git=None, packages={"nic-lightning": "0.3", "numpy": "1.26"})
    assert command.reproduce(run) == 0
    text = capsys.readouterr().out
    assert "did not run from a git checkout: it was version 0.3" in text
    assert 'install --quiet -c "$OUT/constraints.txt" nic-lightning==0.3' in text
    assert "numpy==1.26" in text
    with pytest.raises(RunError, match="did not run from a git checkout"):
        command.reproduce(run, start=True, out=tmp_path / "again")


def test_start_needs_a_new_folder(run, tmp_path):
    with pytest.raises(RunError, match="-o DIR"):
        command.reproduce(run, start=True)
    with pytest.raises(RunError, match="exists already"):
        command.reproduce(run, start=True, out=tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_a_damaged_environment(run, text):
    (run / "environment.json").write_text(text)
    with pytest.raises(RunError, match="damaged"):
        read(read_run(run))


def test_what_results_depend_on_is_told_where_they_differ(run, tmp_path, capsys):
    again = tmp_path / "again"
    RunRecord(again).start(CONFIG, OVERRIDES)
    for folder, threads, loss in ((run, 2, 1.5), (again, 1, 1.25)):
        RunRecord(folder).log(0, {"train/loss": loss})
        change(folder, numerics={"threads": threads, "mkldnn": True})
    assert command._compare(run, again) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "1 of 1 logged losses differ, first at step 0: 1.5 there, 1.25 here.",
        "Results depend on threads: 2 there, 1 here.",
    ]
    change(again, numerics="nonsense")
    assert command._compare(run, again) == 1


def test_a_sweep_is_not_one_run(run, tmp_path):
    RunRecord(run.parent / "other").start(CONFIG, [])
    with pytest.raises(RunError, match="holds 2 runs; name one, such as "):
        command.reproduce(run.parent)
